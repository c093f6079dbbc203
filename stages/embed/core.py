"""What neighbours tell: how strange a row is, and which rows repeat an earlier one."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Pairs = tuple[NDArray[np.integer], NDArray[np.integer]]  # rows, and what each of them is the same as


def outlier_scores(similarity: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rank rows by mean similarity to their neighbours [n]: 0 the most typical, 1 the strangest, ties alike."""
    _, place, counts = np.unique(-similarity, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts + 1) / 2
    return np.asarray(rank[place] / max(len(similarity) - 1, 1), np.float32)


def earliest_twins(pairs: Iterable[Pairs], count: int) -> NDArray[np.int64]:
    """Find for each row the earliest row that a chain of pairs joins it with [count], itself where it repeats none."""
    component = np.arange(count)
    for starts, ends in pairs:
        if len(starts):
            edges = (component[starts], component[ends])
            graph = coo_array((np.ones(len(starts), np.int8), edges), shape=(count, count))
            component = connected_components(graph, directed=False)[1][component]
    earliest = np.full(count, count, np.int64)
    np.minimum.at(earliest, component, np.arange(count))
    result: NDArray[np.int64] = earliest[component]
    return result
