"""Exact nearest rows by inner product: multiply and take the largest, in tasks of one thread each."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.shell.ahead import run_ahead

QUERIES = 512
SCORES = {"cpu": 2**25, "cuda": 2**30}  # similarities that a task holds at a time
GROUP = 8

Item = TypeVar("Item")
Result = TypeVar("Result")


class Found(NamedTuple):
    """The nearest others of some rows, nearest first."""

    rows: NDArray[np.int64]  # [n]
    indices: NDArray[np.int64]  # [n, k]
    similarity: NDArray[np.float32]  # [n, k]


@dataclass(frozen=True)
class Tasks:
    """Where sums are done: threads that each compute alone (the same bits for any number of them), or a GPU."""

    device: torch.device
    threads: int

    def run(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Apply `work` to all items and yield the results in order."""
        if self.device.type != "cpu":
            yield from map(work, items)
            return
        with ThreadPoolExecutor(self.threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from run_ahead(pool, work, items, 2 * self.threads)

    @property
    def scores(self) -> int:
        """Return how many similarities a task may hold."""
        return SCORES.get(self.device.type, SCORES["cpu"])


def search(base: Tensor, rows: NDArray[np.int64], k: int, tasks: Tasks) -> Iterator[Found]:
    """Find the k nearest others of some rows among all rows of the base [n, d], chunk by chunk."""
    size = min(QUERIES, max(1, tasks.scores // len(base)))

    def find(start: int) -> Found:
        some = rows[start : start + size]
        places = torch.from_numpy(some).to(base.device)
        scores = base[places] @ base.T
        scores[torch.arange(len(some), device=base.device), places] = -torch.inf
        return found(some, *largest(scores, k))

    return tasks.run(find, range(0, len(rows), size))


def found(rows: NDArray[np.int64], similarity: Tensor, indices: Tensor) -> Found:
    """Order each list by similarity, and by row where that is equal."""
    near, alike = indices.cpu().numpy(), similarity.cpu().numpy()
    order = np.lexsort((near, -alike), axis=1)
    return Found(rows, np.take_along_axis(near, order, 1), np.take_along_axis(alike, order, 1))


def largest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k largest of each row and their columns, as `topk` does in thrice the time.

    The columns are dealt into groups of 8. The k groups with the largest maxima hold the k largest numbers.
    """
    width = scores.shape[1] // GROUP
    if width < GROUP * k:
        return scores.topk(k, dim=1)
    whole = scores[:, : width * GROUP].view(len(scores), GROUP, width)
    best = whole[:, 0].clone()
    for place in range(1, GROUP):
        torch.maximum(best, whole[:, place], out=best)
    groups = best.topk(k, dim=1, sorted=False).indices
    members = width * torch.arange(GROUP, device=scores.device)
    rest = torch.arange(width * GROUP, scores.shape[1], device=scores.device).expand(len(scores), -1)
    columns = torch.cat([(groups[:, :, None] + members).flatten(1), rest], dim=1)
    values, places = scores.gather(1, columns).topk(k, dim=1)
    return values, columns.gather(1, places)
