"""What the trusted rows say about the noise: how much, in which classes, from what to what."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stages.purify.audit import ONE_SIDED, share_interval
from stages.purify.transition import MOST_CLASSES, Transition

MOST_WARNINGS = 20
MOST_LISTED = 100  # classes up to which T is written down
FREE = 20.0  # below this concentration the rows of T do not support each other


@dataclass(frozen=True)
class RowOfT:
    """How one class is given."""

    name: str
    shares: list[float]
    pairs: float
    support: float  # pairs, and what the other classes are worth


def describe_noise(transition: Transition, names: Sequence[str], expected: float) -> dict[str, Any]:
    """Return rate with interval, rates per class, T and warnings; `expected` is the mean doubt over all rows."""
    seen = transition.pairs > 0
    low, high = share_interval(transition.rate, transition.pairs) if seen else (0.0, 1.0)
    rows = [] if transition.symmetric else rows_of(transition, names)
    return {
        "rate": transition.rate if seen else expected,
        "low": low,
        "high": high,
        "expected": expected,
        "pairs": transition.pairs,
        "symmetric": transition.symmetric,
        "concentration": transition.strength,
        "per_class": [1 - row.shares[k] for k, row in enumerate(rows)],
        "classes": [_class_rate(k, row) for k, row in enumerate(rows)],
        "transition": [row.shares for row in rows] if len(names) <= MOST_LISTED else [],
        "warnings": warnings_of(transition, rows),
    }


def rows_of(transition: Transition, names: Sequence[str]) -> list[RowOfT]:
    """Split T by true class."""
    pairs = transition.counts.sum(1).tolist()
    lent = min(transition.strength, transition.pairs)
    shares = transition.matrix.tolist()
    return [RowOfT(n, s, p, p + lent) for n, s, p in zip(names, shares, pairs, strict=True)]


def _class_rate(index: int, row: RowOfT) -> dict[str, Any]:
    wrong = 1 - row.shares[index]
    low, high = share_interval(wrong, row.support)
    return {"name": row.name, "rate": wrong, "low": low, "high": high, "pairs": row.pairs}


def warnings_of(transition: Transition, rows: Sequence[RowOfT]) -> list[str]:
    """Say what the trusted rows do not settle, and how many more would."""
    if transition.pairs == 0:
        return [
            "No trusted row has a given label: the noise is guessed from the neighbours. Mark some rows as trusted."
        ]
    if transition.symmetric:
        return [f"More than {MOST_CLASSES} classes: the noise is taken to be the same for every pair of classes."]
    found = [w for row in rows if (w := _warning(row, transition.strength))]
    more = len(found) - MOST_WARNINGS
    return found[:MOST_WARNINGS] + ([f"… and {more} more classes."] if more > 0 else [])


def _warning(row: RowOfT, strength: float) -> str:
    if row.pairs == 0:
        return f"class '{row.name}' has no trusted row: its noise is taken from the other classes. Check some of it."
    first, second = sorted(row.shares, reverse=True)[:2]
    if strength >= FREE or first - second > _error(first, second, row.support):
        return ""
    gap = max(first - second, 0.2)
    more = max(math.ceil((ONE_SIDED * _error(first, second, 1.0) / gap) ** 2 - row.pairs), 5)
    return f"row '{row.name}' of T is not settled by {row.pairs:.0f} trusted rows: check {more} more '{row.name}'."


def _error(first: float, second: float, rows: float) -> float:
    """Return the standard error of the difference of two shares."""
    return math.sqrt((first + second - (first - second) ** 2) / rows)
