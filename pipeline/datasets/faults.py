"""Words for what is wrong with data: a few rows by name, and the name that was probably meant."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import islice

from pipeline.errors import DataError

NAMED = 5


def naming(values: Iterable[object], total: int | None = None) -> str:
    """Quote the first few values and count the others."""
    values = list(values) if total is None else list(islice(values, NAMED))
    total = len(values) if total is None else total
    shown = ", ".join(repr(v) for v in values[:NAMED])
    return f"{shown} and {total - NAMED} more" if total > NAMED else shown


def nearest(name: str, names: Sequence[str]) -> str:
    """Guess which of the names was meant, as a remedy."""
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    return f"Did you mean '{close[0]}'?" if close else f"There are: {naming(names)}."


def missing_column(name: str, names: Sequence[str], where: str, field: str) -> DataError:
    """Say that a table lacks a column, and which one may be meant."""
    return DataError(f"{where} has no column '{name}' ({field}).", nearest(name, names))
