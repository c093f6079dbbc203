"""What the page shows, chosen from the rows: groups of changes, the review queue, oddities, figures by class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from stages.report.rows import Floats, Indices, Ints, LabelRows, Mask

MOST_CLASSES = 40


@dataclass(frozen=True)
class Group:
    """All rows whose label went one way, and the few that stand for them."""

    given: int  # -1: no given label
    target: int
    count: int
    shown: Indices


def groups_of_changes(rows: LabelRows, per_group: int) -> list[Group]:
    """Group the changed rows by given → target, the largest first."""
    changed = np.flatnonzero(rows.changed)
    width = len(rows.classes)
    code = (rows.given[changed].astype(np.int64) + 1) * width + rows.target[changed]
    order = np.argsort(code, kind="stable")
    codes, starts, counts = np.unique(code[order], return_index=True, return_counts=True)
    groups = []
    for at in np.lexsort((codes, -counts)):
        members = changed[order[starts[at] : starts[at] + counts[at]]]
        given, target = divmod(int(codes[at]), width)
        groups.append(Group(given - 1, target, int(counts[at]), spread(rows, members, per_group)))
    return groups


def spread(rows: LabelRows, members: Indices, count: int) -> Indices:
    """Pick rows evenly from the surest to the least sure, so that the doubtful ones are seen as well."""
    ordered = members[np.argsort(-rows.confidence[members], kind="stable")]
    if len(ordered) <= count:
        return ordered
    return ordered[np.linspace(0, len(ordered) - 1, count).round().astype(np.int64)]


def most_uncertain(rows: LabelRows, count: int) -> Indices:
    """Pick from the review queue the rows whose two best answers are nearest to each other."""
    waiting = np.flatnonzero(rows.review)
    return waiting[np.argsort(rows.margin[waiting], kind="stable")][:count]


def strangest(rows: LabelRows, count: int) -> Indices:
    """Pick the rows that resemble their neighbours least."""
    known = np.flatnonzero(rows.outlier_score > 0)
    return known[np.argsort(-rows.outlier_score[known], kind="stable")][:count]


@dataclass(frozen=True)
class Duplicates:
    """Rows that repeat an earlier one (-1 where that is not in the table), those with another given label first."""

    repeats: Indices
    origins: Indices
    differ: int


def duplicates(rows: LabelRows) -> Duplicates:
    """Find the rows that repeat an earlier one."""
    earlier = rows.table["duplicate_of"].combine_chunks()
    repeats = np.flatnonzero(earlier.is_valid().to_numpy(zero_copy_only=False))
    found = pc.index_in(earlier.take(repeats), rows.table["sample_id"].combine_chunks())
    origins = found.fill_null(-1).to_numpy().astype(np.int64)
    differs = (origins >= 0) & (rows.given[repeats] != rows.given[origins])
    order = np.argsort(~differs, kind="stable")
    return Duplicates(repeats[order], origins[order], int(differs.sum()))


@dataclass(frozen=True)
class ClassFigures:
    """What happened to one class."""

    label: int
    given: int
    trusted: int
    changed_from: int
    changed_to: int
    review: int
    wrong: float | None  # estimated share of wrong given labels
    low: float | None = None  # its 95 % interval
    high: float | None = None


def class_figures(
    rows: LabelRows, wrong: list[float] | None, intervals: Sequence[Mapping[str, Any]] = ()
) -> list[ClassFigures]:
    """Count by class what was given, changed and left to review among the train rows, most changed first."""

    def count(labels: Ints, mask: Mask) -> Indices:
        return np.bincount(labels[mask & (labels >= 0)], minlength=len(rows.classes))

    given = count(rows.given, rows.train)
    trusted = count(rows.target, rows.trusted & rows.train)
    away, gained = count(rows.given, rows.changed), count(rows.target, rows.changed)
    review = count(rows.given, rows.review)
    order = np.argsort(-(away + gained), kind="stable")
    return [
        ClassFigures(
            int(c), int(given[c]), int(trusted[c]), int(away[c]), int(gained[c]), int(review[c]),
            None if not wrong else wrong[c],
            *((intervals[c]["low"], intervals[c]["high"]) if len(intervals) == len(rows.classes) else ()),
        )
        for c in order
    ]  # fmt: skip


@dataclass(frozen=True)
class Reliability:
    """One bin of the calibration plot: what was promised, what was found, on how many rows."""

    promised: float
    found: float
    count: int


def reliability(confidence: Floats, right: Mask, bins: int = 8) -> list[Reliability]:
    """Compare promised and found shares of right answers in bins of about equal size."""
    parts = np.array_split(np.argsort(confidence, kind="stable"), max(1, min(bins, len(confidence) // 10)))
    return [Reliability(float(confidence[p].mean()), float(right[p].mean()), len(p)) for p in parts if len(p)]
