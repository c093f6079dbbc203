"""Rows of one cell lie together: a tree of spherical k-means cuts them into cells of a few hundred like rows."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.arrays import reserved_array
from stages.embed.search import Tasks

CHUNK_ROWS = 8192
MOST_CHILDREN = 256
SAMPLE = 64  # rows a centre is taught by
ROUNDS = 8
DEEPEST = 8  # levels, after which what is alike is cut anywhere
FILL = 0.6  # mean size of a cell / largest size

Halves = NDArray[np.float16]
Rows = NDArray[np.int64]


class Directions(Protocol):
    """Unit vectors that are read when asked."""

    dim: int

    def __len__(self) -> int: ...

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read some rows [n, d]."""
        ...


@dataclass(frozen=True)
class Cells:
    """All rows in the order of their cells, in a file: cell c is `vectors[starts[c]:starts[c + 1]]`."""

    vectors: Tensor  # float16 [n, d]
    rows: NDArray[np.int64]  # the row at each place [n]
    starts: NDArray[np.int64]  # [cells + 1]
    centres: Tensor  # unit vectors [cells, d]

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def largest(self) -> int:
        """Return the rows of the largest cell."""
        return int(np.diff(self.starts).max())

    def cell_of_rows(self) -> NDArray[np.int64]:
        """Name the cell of each row [n]."""
        result = np.empty(len(self.rows), np.int64)
        result[self.rows] = np.repeat(np.arange(len(self)), np.diff(self.starts))
        return result


def largest_cell(rows: int) -> int:
    """Choose the largest size of a cell: small enough to leave most rows out, large enough for products to be fast."""
    return max(128, round(math.sqrt(rows) / 3))


def build_cells(directions: Directions, folder: Path, tasks: Tasks) -> Cells:
    """Cut all rows into cells; their vectors go into a file."""
    count, most = len(directions), largest_cell(len(directions))
    children = min(MOST_CHILDREN, max(2, round(math.sqrt(count / (FILL * most)))))
    centres = train(directions.read(sample(count, SAMPLE * children, 0)), children, 0)
    parts = tasks.run(lambda rows: nearest(directions.read(rows), centres), chunks(count))
    cell = np.concatenate(list(parts))
    rows = np.argsort(cell, kind="stable")
    vectors = reserved_array(folder / "cells.npy", (count, directions.dim), np.float16)
    (folder / "cells.npy").unlink()  # the space comes back when the process ends, however that ends
    fill(vectors, directions, rows, tasks)
    bounds = np.searchsorted(cell[rows], np.arange(children + 1))

    def cut(child: int) -> list[int]:
        here = slice(int(bounds[child]), int(bounds[child + 1]))
        leaves = list(split(vectors[here], np.arange(here.stop - here.start), most, child + 1))
        if len(leaves) > 1:
            order = np.concatenate(leaves)
            vectors[here], rows[here] = vectors[here][order], rows[here][order]
        return [len(leaf) for leaf in leaves]

    sizes = [size for found in tasks.run(cut, range(children)) for size in found]
    starts = np.cumsum([0, *sizes])
    means = np.stack([vectors[a:b].mean(axis=0, dtype=np.float32) for a, b in itertools.pairwise(starts)])
    shared = torch.from_numpy(vectors).to(tasks.device)
    return Cells(shared, rows, starts, functional.normalize(torch.from_numpy(means)).to(tasks.device))


def fill(vectors: Halves, directions: Directions, rows: NDArray[np.int64], tasks: Tasks) -> None:
    """Write the vectors in the order of the rows, going through the directions in their own."""
    place = np.empty(len(rows), np.int64)
    place[rows] = np.arange(len(rows))

    def write(some: NDArray[np.int64]) -> None:
        vectors[place[some]] = directions.read(some)

    for _ in tasks.run(write, chunks(len(rows))):
        pass


def split(
    vectors: Halves, rows: NDArray[np.int64], most: int, seed: int, depth: int = 0
) -> Iterator[NDArray[np.int64]]:
    """Cut some rows of the vectors into leaves of at most `most` rows."""
    if len(rows) <= most:
        if len(rows):
            yield rows
        return
    children = min(MOST_CHILDREN, max(2, math.ceil(len(rows) / (FILL * most))))
    taught = vectors[rows[sample(len(rows), SAMPLE * children, seed)]].astype(np.float32)
    centres = train(taught, children, seed)
    cell = np.concatenate([nearest(vectors[rows[some]].astype(np.float32), centres) for some in chunks(len(rows))])
    kept = np.unique(cell)
    if len(kept) == 1 or depth == DEEPEST:  # nothing tells these rows apart
        yield from np.array_split(rows, math.ceil(len(rows) / most))
        return
    for child in kept:
        yield from split(vectors, rows[cell == child], most, seed, depth + 1)


def train(rows: NDArray[np.float32], count: int, seed: int) -> Tensor:
    """Learn centres [count, d] by spherical k-means: each is the direction of the mean of the rows nearest to it."""
    vectors = torch.from_numpy(rows)
    start = torch.randperm(len(vectors), generator=torch.Generator().manual_seed(seed))[:count]
    centres = vectors[start].clone()
    for _ in range(ROUNDS):
        cell = torch.from_numpy(nearest(rows, centres))
        sums = torch.zeros_like(centres).index_add_(0, cell, vectors)
        moved = functional.normalize(sums)
        centres = torch.where((moved == 0).all(dim=1, keepdim=True), centres, moved)
    return centres


def nearest(rows: NDArray[np.float32], centres: Tensor) -> NDArray[np.int64]:
    """Name the nearest centre of each row."""
    parts = torch.split(torch.from_numpy(rows), CHUNK_ROWS)
    return np.concatenate([(part @ centres.T).argmax(dim=1).numpy() for part in parts])


def sample(count: int, wanted: int, seed: int) -> NDArray[np.int64]:
    """Draw rows without repetition, in their order."""
    drawn = np.random.default_rng(seed).choice(count, min(count, wanted), replace=False, shuffle=False)
    return np.sort(drawn)


def chunks(count: int) -> list[NDArray[np.int64]]:
    """Cut the row numbers 0 … count − 1 into runs."""
    return [np.arange(start, min(start + CHUNK_ROWS, count)) for start in range(0, count, CHUNK_ROWS)]
