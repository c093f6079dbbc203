"""What neighbours tell: directions to compare by, how strange a row is, which rows repeat an earlier one."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

SMALLEST_LENGTH = 1e-6  # of a row's length, below which the rest after centring is rounding

Floats = NDArray[np.floating]
Chunks = Callable[[], Iterable[Floats]]


def mean_row(chunks: Iterable[Floats]) -> NDArray[np.float64]:
    """Average all rows of chunks [n, d]."""
    total: NDArray[np.float64] | float = 0.0
    count = 0
    for chunk in chunks:
        total, count = total + chunk.sum(axis=0, dtype=np.float64), count + len(chunk)
    return np.asarray(total / max(count, 1))


def directions(chunks: Iterable[Floats], mean: NDArray[np.float64]) -> Iterator[NDArray[np.float32]]:
    """Turn rows into unit vectors seen from the mean; a row at the mean becomes zeros, similar to nothing."""
    for chunk in chunks:
        centred = chunk.astype(np.float64) - mean
        length = np.linalg.norm(centred, axis=1, keepdims=True)
        scale = np.linalg.norm(chunk.astype(np.float64), axis=1, keepdims=True) + np.linalg.norm(mean)
        meant = length > SMALLEST_LENGTH * scale
        yield np.where(meant, centred / np.where(meant, length, 1.0), 0.0).astype(np.float32)


def without_self(
    indices: NDArray[np.int64], similarity: NDArray[np.float32], first_row: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Drop each row itself from its k + 1 nearest [n, k + 1], or the last of them where twins pushed it out."""
    own = np.arange(first_row, first_row + len(indices))[:, None]
    is_self = indices == own
    is_self[:, -1] |= ~is_self.any(axis=1)
    shape = (len(indices), indices.shape[1] - 1)
    return indices[~is_self].reshape(shape), similarity[~is_self].reshape(shape)


def outlier_scores(similarity: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rank rows by mean similarity to their neighbours [n, k]: 0 the most typical, 1 the strangest, ties alike."""
    if similarity.shape[1] == 0:
        return np.zeros(len(similarity), np.float32)
    strangeness = -similarity.mean(axis=1, dtype=np.float64)
    _, place, counts = np.unique(strangeness, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts + 1) / 2
    return (rank[place] / max(len(similarity) - 1, 1)).astype(np.float32)


def earliest_twins(
    indices: NDArray[np.int64], similarity: NDArray[np.float32], content: NDArray[np.object_], threshold: float
) -> NDArray[np.int64]:
    """Find for each row the earliest row of its group [n], itself where it repeats none.

    Two rows are in one group if their content is byte-identical or their similarity reaches the threshold, or if a
    chain of such pairs joins them.
    """
    count = len(indices)
    rows, places = np.nonzero(similarity >= threshold)
    _, first, group = np.unique(content.astype(str), return_index=True, return_inverse=True)
    starts = np.concatenate([rows, np.arange(count)])
    ends = np.concatenate([indices[rows, places], first[group]])
    graph = coo_array((np.ones(len(starts), np.int8), (starts, ends)), shape=(count, count))
    _, component = connected_components(graph, directed=False)
    earliest = np.full(count, count, np.int64)
    np.minimum.at(earliest, component, np.arange(count))
    result: NDArray[np.int64] = earliest[component]
    return result
