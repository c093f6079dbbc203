"""What the trusted rows say about the noise: how much, in which classes, from what to what."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stages.purify.audit import share_interval
from stages.purify.prior import Prior
from stages.purify.sample import Views
from stages.purify.transition import MOST_CLASSES, Transition

MOST_WARNINGS = 20
MOST_LISTED = 100  # classes up to which T is written down
EVEN = 0.5
MOST_ROWS = 100_000
FREE = 20.0  # below this concentration the rows of T do not support each other


@dataclass(frozen=True)
class RowOfT:
    """How one class is given."""

    name: str
    shares: list[float]
    pairs: float
    support: float  # pairs, and what the other classes are worth

    @property
    def errors(self) -> list[float]:
        """Return the standard error of each share."""
        return [math.sqrt(max(p * (1 - p), 0.0) / (self.support + 1)) for p in self.shares]


def describe_noise(views: Views, names: Sequence[str], expected: float) -> dict[str, Any]:
    """Return rate with interval, rates per class, T and warnings; `expected` is the mean doubt over all rows."""
    transition, crowd = views.transitions[0], views.crowds[0].members
    seen = transition.pairs > 0
    rate, pairs = overall(transition, views.priors[0])
    low, high = share_interval(rate, pairs) if seen else (0.0, 1.0)
    rows = [] if transition.symmetric else rows_of(transition, names)
    return {
        "rate": rate if seen else expected,
        "low": low,
        "high": high,
        "expected": expected,
        "pairs": transition.pairs,
        "symmetric": transition.symmetric,
        "concentration": transition.strength,
        "per_class": [1 - row.shares[k] for k, row in enumerate(rows)],
        "classes": [_class_rate(k, row) for k, row in enumerate(rows)],
        "transition": [row.shares for row in rows] if len(names) <= MOST_LISTED else [],
        "transition_error": [row.errors for row in rows] if len(names) <= MOST_LISTED else [],
        "annotators": [annotator_record(t) for t in crowd] if len(crowd) > 1 else [],
        "warnings": warnings_of(transition, rows),
    }


def overall(transition: Transition, prior: Prior) -> tuple[float, float]:
    """Return the share of wrong labels, and how many trusted rows it is worth.

    Where trusted rows have another mix of classes than the data, each class counts by its share of the data.
    """
    if not prior.shifted or transition.symmetric:
        return transition.rate, transition.pairs
    rows = transition.counts.sum(1) + min(transition.strength, transition.pairs)
    rate = float((prior.shares * (1 - transition.matrix.diagonal())).sum())
    return rate, min(float(1 / (prior.shares.square() / rows.clamp_min(1e-9)).sum()), transition.pairs)


def annotator_record(transition: Transition) -> dict[str, Any]:
    """Describe how often one annotator errs."""
    low, high = share_interval(transition.rate, transition.pairs)
    return {"rate": transition.rate, "low": low, "high": high, "pairs": transition.pairs}


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
    more = rows_to_settle(first, second, row.support)
    return f"row '{row.name}' of T is not settled by {row.pairs:.0f} trusted rows: check {more} more '{row.name}'."


def rows_to_settle(first: float, second: float, rows: float) -> int:
    """Return how many more rows settle, as likely as not, which of two shares seen in some rows is the larger.

    Settled means that they differ by more than the standard error e. What further rows m will make of the difference
    d is normal around d with standard deviation e √(m / (rows + m)), and e shrinks to e √(rows / (rows + m)).
    """
    gap, error, more = first - second, _error(first, second, rows), 1
    while more < MOST_ROWS:
        spread, needed = (error * math.sqrt(x / (rows + more)) for x in (more, rows))
        if _below((gap - needed) / spread) + _below((-gap - needed) / spread) >= EVEN:
            break
        more += max(more // 20, 1)
    return more


def _below(z: float) -> float:
    """Return the normal distribution's share below z."""
    return (1 + math.erf(z / math.sqrt(2))) / 2


def _error(first: float, second: float, rows: float) -> float:
    """Return the standard error of the difference of two shares."""
    return math.sqrt((first + second - (first - second) ** 2) / rows)
