"""Words for what is wrong with data: a few rows by name, and the name that was probably meant."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

import pyarrow as pa

from pipeline.errors import DataError

NAMED = 5


def naming(values: Iterable[object] | pa.ChunkedArray, total: int | None = None) -> str:
    """Quote the first few values and count the others (of `total`, where only the first are given)."""
    first = values.slice(0, NAMED).to_pylist() if isinstance(values, pa.ChunkedArray | pa.Array) else list(values)
    total = total or (len(values) if isinstance(values, pa.ChunkedArray | pa.Array) else len(first))
    shown = ", ".join(repr(value) for value in first[:NAMED])
    return f"{shown} and {total - NAMED} more" if total > NAMED else shown


def nearest(name: str, names: Sequence[str]) -> str:
    """Guess which of the names was meant, as a remedy."""
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    return f"Did you mean '{close[0]}'?" if close else f"There are: {naming(names)}."


def meant(name: str, names: Sequence[str]) -> str:
    """Ask whether another name was meant, where one is close."""
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    return f"Did you mean '{close[0]}'? " if close else ""


def missing_column(name: str, names: Sequence[str], where: str, field: str) -> DataError:
    """Say that a table lacks a column, and which one may be meant."""
    return DataError(f"{where} has no column '{name}' ({field}).", nearest(name, names))
