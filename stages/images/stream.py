"""Images that are decoded whenever they are asked for, by worker processes that stay some batches ahead."""

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.datasets.images import ImageRows
from stages.images.decoding import Fit, decode_rows, killed_workers, open_pool, work
from stages.shell.ahead import run_ahead

PIECE_ROWS = 32  # what a worker decodes at a time
BATCHES_AHEAD = 2  # small beside the floats of their views


class StreamedPixels:
    """Some rows of a dataset as uint8 images [n, size, size, 3], for datasets that the uint8 cache has no room for."""

    def __init__(self, images: ImageRows, rows: NDArray[np.int64], fit: int | Fit, workers: int) -> None:
        self._images, self._rows, self._fit, self._workers = images, rows, fit, workers
        self._pool: ProcessPoolExecutor | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, chosen: Tensor) -> Tensor:
        """Decode some images."""
        return next(self.take_all(iter([chosen])))

    def take_all(self, batches: Iterator[Tensor]) -> Iterator[Tensor]:
        """Decode batch after batch, ahead of whoever takes them."""
        if self._workers < 2:
            for chosen in batches:
                yield torch.from_numpy(decode_rows(self._images, self._rows[chosen.numpy()], self._fit))
            return
        first = next(batches, None)
        if first is not None:
            with killed_workers(self._workers):
                yield from self._by_workers(first, batches)

    def _by_workers(self, first: Tensor, further: Iterator[Tensor]) -> Iterator[Tensor]:
        pieces_of_batch: deque[int] = deque()

        def pieces() -> Iterator[NDArray[np.int64]]:
            for chosen in chain([first], further):
                parts = np.array_split(self._rows[chosen.numpy()], math.ceil(len(chosen) / PIECE_ROWS))
                pieces_of_batch.append(len(parts))
                yield from parts

        ahead = max(2 * self._workers, BATCHES_AHEAD * math.ceil(len(first) / PIECE_ROWS))
        held = []
        for piece in run_ahead(self._workers_pool(), work, pieces(), ahead):
            held.append(piece)
            if len(held) == pieces_of_batch[0]:
                yield torch.from_numpy(np.concatenate(held))
                pieces_of_batch.popleft()
                held.clear()

    def _workers_pool(self) -> Executor:
        self._pool = self._pool or open_pool(self._images, self._fit, self._workers)
        return self._pool
