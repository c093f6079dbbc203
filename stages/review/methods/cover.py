"""Pick a first set without any belief: every class in turn, its densest rows first (their neighbours are like them).

score = 1 / rank of the row among those of its given class by density, so that the best of each class come first.
"""

import numpy as np

from stages.review.pool import Floats, Pool


def score(pool: Pool) -> Floats:
    """Score rows [n]; the highest are picked."""
    order = np.lexsort((-pool.density, pool.given))
    first = np.flatnonzero(np.r_[True, np.diff(pool.given[order]) != 0])
    start = np.repeat(first, np.diff(np.r_[first, len(order)]))
    result = np.empty(len(pool), np.float64)
    result[order] = 1.0 / (1 + np.arange(len(order)) - start)
    return result
