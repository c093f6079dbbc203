"""The rows that may be picked, and what is known about each."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pool:
    """Train rows without a trusted label, in dataset order."""

    rows: Ints  # [n] places in the dataset
    given: Ints  # [n] -1 where there is none
    suggested: Ints  # [n] the given label where nothing was suggested yet
    wrong: Floats  # [n] probability that the label we stand for is wrong
    disagreement: Floats  # [n] share of all answers (given, suggested, baselines) that are not the most frequent one
    density: Floats  # [n] mean similarity to the nearest rows, 0..1
    near: Ints  # [n, k] nearest rows as positions in the pool, -1 where they are not in it
    trusted: Ints  # [K] trusted train rows of each class

    def __len__(self) -> int:
        return len(self.rows)


def disagreement_of(answers: Ints) -> Floats:
    """Return the share of answers [n, m] (-1: none) that differ from the row's most frequent one."""
    same = (answers[:, :, None] == answers[:, None, :]) & (answers >= 0)[:, None, :] & (answers >= 0)[:, :, None]
    most = same.sum(axis=2).max(axis=1, initial=0)
    counted = (answers >= 0).sum(axis=1)
    return np.where(counted > 0, 1 - most / np.maximum(counted, 1), 0.0)


def places_in_pool(indices: npt.NDArray[np.integer], rows: Ints, count: int) -> Ints:
    """Turn places in the dataset [n, k] into positions in the pool."""
    position = np.full(count + 1, -1, np.int64)
    position[rows] = np.arange(len(rows))
    return position[np.where(indices >= 0, indices, count)]
