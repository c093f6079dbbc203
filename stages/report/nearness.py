"""What the nearest rows say for and against a changed label."""

from dataclasses import dataclass

import numpy as np

from pipeline.neighbours import Neighbours
from stages.report.rows import Indices, LabelRows

NEAR = 10
SHOWN = 3


@dataclass(frozen=True)
class Argument:
    """The nearest rows that were labelled as the row became, and as it came."""

    near: int  # that have a label
    votes_for: Indices
    votes_against: Indices


def argument(rows: LabelRows, neighbours: Neighbours, index: int) -> Argument:
    """Sort the nearest rows of one row by their labels: trusted where known, else given."""
    near = np.asarray(neighbours.indices[index][:NEAR], dtype=np.int64)
    near = near[near >= 0]
    labels = np.where(rows.trusted[near], rows.target[near], rows.given[near])
    given, target = int(rows.given[index]), int(rows.target[index])
    against = near[labels == given] if given != target else near[:0]
    return Argument(int((labels >= 0).sum()), near[labels == target], against)
