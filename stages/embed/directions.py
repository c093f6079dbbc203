"""The directions that rows are compared by: unit vectors seen from a centre, read when asked."""

import mmap
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.features import Features

CHUNK_ROWS = 8192
SMALLEST_LENGTH = 1e-6  # of a row's length, below which the rest after centring is rounding
CENTRAL = 0.05  # share of the mean square distance by which a dataset's mean may miss its encoder's centre

Floats = NDArray[np.floating]
Vector = NDArray[np.float64]


class Directions:
    """The unit vectors of some rows of the features; a row at the centre is zeros, similar to nothing."""

    def __init__(self, features: Features, rows: NDArray[np.int64], centre: Vector) -> None:
        self._features = features
        self.rows = rows
        self.centre = centre
        self.dim = features.dim

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read the directions of the rows at some places [n, d]."""
        return unit_vectors(take(self._features, self.rows[places]), self.centre)

    def all(self, device: torch.device) -> torch.Tensor:
        """Read all directions [N, d]."""
        result = torch.empty(len(self), self.dim, device=device)
        for start in range(0, len(self), CHUNK_ROWS):
            places = np.arange(start, min(start + CHUNK_ROWS, len(self)))
            result[start : start + len(places)] = torch.from_numpy(self.read(places))
        return result


def take(features: Features, rows: NDArray[np.int64]) -> Floats:
    """Read some rows and give back the memory that their files were mapped into."""
    taken = features.take(rows)
    for part in features.parts:
        if isinstance(part.base, mmap.mmap):
            part.base.madvise(mmap.MADV_DONTNEED)
    return taken


def unit_vectors(values: Floats, centre: Vector) -> NDArray[np.float32]:
    """Turn rows [n, d] into unit vectors seen from the centre; what only rounding sets apart from it into zeros."""
    values = values.astype(np.float64)
    centred = values - centre
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    scale = np.linalg.norm(values, axis=1, keepdims=True) + np.linalg.norm(centre)
    meant = length > SMALLEST_LENGTH * scale
    return np.where(meant, centred / np.where(meant, length, 1.0), 0.0).astype(np.float32)


def pick_centre(features: Features, rows: NDArray[np.int64], given: Vector | None) -> Vector:
    """Take the encoder's centre, which stays where rows are added, unless the dataset lies elsewhere; then its mean."""
    mean = mean_row(chunks(features, rows))
    if given is None or given.shape != mean.shape:
        return mean
    square = mean_row(np.square(chunk - given).sum(axis=1, keepdims=True) for chunk in chunks(features, rows))
    return given if np.square(mean - given).sum() <= CENTRAL * square[0] else mean


def chunks(features: Features, rows: NDArray[np.int64]) -> Iterator[Vector]:
    """Go through some rows of the features."""
    for start in range(0, len(rows), CHUNK_ROWS):
        yield take(features, rows[start : start + CHUNK_ROWS]).astype(np.float64)


def mean_row(parts: Iterable[Floats]) -> Vector:
    """Average all rows of chunks [n, d]."""
    total: Vector | float = 0.0
    count = 0
    for part in parts:
        total, count = total + part.sum(axis=0, dtype=np.float64), count + len(part)
    return np.asarray(total / max(count, 1))
