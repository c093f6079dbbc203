"""Nearest rows of large datasets: each row looks into the cells nearest to it, in as many as the recall takes.

How many cells that is, is measured: for a sample of rows the true neighbours are found by comparing with every row.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.embed.cells import Cells, Directions, chunks, sample
from stages.embed.search import Found, Tasks, found, largest

SAMPLED = 1000
BLOCK = 2048
SEED = 20


class Truth(NamedTuple):
    """The true nearest others of a sample of rows."""

    rows: NDArray[np.int64]  # [n]
    indices: NDArray[np.int64]  # [n, k]

    def recall(self, indices: NDArray[np.integer]) -> float:
        """Return the share of true neighbours that other lists [n, k] of the same rows name."""
        hits = [len(np.intersect1d(true, near)) for true, near in zip(self.indices, indices, strict=True)]
        return float(sum(hits) / max(self.indices.size, 1))


def true_neighbours(directions: Directions, k: int, tasks: Tasks, seed: int = SEED) -> Truth:
    """Compare a sample of rows with every row."""
    rows = sample(len(directions), SAMPLED, seed)
    queries = torch.from_numpy(directions.read(rows)).to(tasks.device)

    def find(some: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        scores = queries @ torch.from_numpy(directions.read(some)).to(tasks.device).T
        scores[torch.from_numpy(rows[:, None] == some).to(tasks.device)] = -torch.inf
        values, columns = scores.topk(min(k, len(some)), dim=1)
        return values, columns + int(some[0])

    best = (torch.empty(len(rows), 0, device=tasks.device), torch.empty(len(rows), 0, dtype=torch.int64))
    for more in tasks.run(find, chunks(len(directions))):
        best = merge((best[0], best[1].to(tasks.device)), more, k)
    return Truth(rows, best[1].cpu().numpy())


def merge(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], k: int) -> tuple[Tensor, Tensor]:
    """Keep the k best of two lists (similarity and row) for each query."""
    similarity, rows = (torch.cat(pair, dim=1) for pair in zip(first, second, strict=True))
    values, places = similarity.topk(min(k, similarity.shape[1]), dim=1)
    return values, rows.gather(1, places)


def cells_needed(cells: Cells, directions: Directions, truth: Truth, recall: float) -> int:
    """Count the cells that a row must look into, so that the wanted share of true neighbours lies in them."""
    queries = torch.from_numpy(directions.read(truth.rows)).to(cells.centres.device)
    order = (queries @ cells.centres.T).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order)
    rank.scatter_(1, order, torch.arange(len(cells), device=order.device).expand_as(order))
    home = torch.from_numpy(cells.cell_of_rows()[truth.indices]).to(order.device)
    ranks = rank.gather(1, home).flatten().sort().values
    enough = int(ranks[min(math.ceil(recall * len(ranks)), len(ranks)) - 1]) + 1
    sizes = np.sort(np.diff(cells.starts)).cumsum()  # even the smallest cells must hold k others
    return max(enough, min(int(np.searchsorted(sizes, truth.indices.shape[1] + 1)) + 1, len(cells)))


def search_cells(cells: Cells, k: int, probes: int, tasks: Tasks) -> Iterator[Found]:
    """Find nearest others of all rows in the `probes` cells nearest to each, block by block in the order of cells."""
    count = len(cells.rows)
    size = min(BLOCK, max(32, tasks.scores // (probes * cells.largest)))
    return tasks.run(
        lambda start: search_block(cells, start, min(start + size, count), (k, probes)), range(0, count, size)
    )


def search_block(cells: Cells, start: int, end: int, wanted: tuple[int, int]) -> Found:
    """Search for the rows at some places: one product for each cell, with all rows of the block that look into it."""
    k, probes = wanted
    block, device = cells.vectors[start:end].float(), cells.vectors.device
    near = (block @ cells.centres.T).topk(probes, dim=1).indices
    scores = torch.full((len(block), probes, cells.largest), -torch.inf, device=device)
    cell, order = near.flatten().sort(stable=True)
    names, counts = torch.unique_consecutive(cell, return_counts=True)
    for name, asking in zip(names.tolist(), torch.split(order, counts.tolist()), strict=True):
        query, slot = asking // probes, asking % probes
        first, last = int(cells.starts[name]), int(cells.starts[name + 1])
        part = block[query] @ cells.vectors[first:last].float().T
        if first < end and last > start:  # no row is its own neighbour
            part[(query + start)[:, None] == torch.arange(first, last, device=device)] = -torch.inf
        scores[query, slot, : last - first] = part
    similarity, columns = largest(scores.flatten(1), k)
    slot, offset = columns // cells.largest, columns % cells.largest
    first_places = torch.from_numpy(cells.starts[:-1]).to(device)
    places = first_places[near.gather(1, slot)] + offset
    return found(cells.rows[start:end], similarity, torch.from_numpy(cells.rows[places.cpu().numpy()]))
