"""Decode many images in order, in processes that die with their parent."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.datasets.images import ImageRows
from pipeline.errors import DataError, ResourceError
from stages.images.decode import BrokenImageError, decode_image
from stages.shell.ahead import run_ahead

BLOCK_ROWS = 256
ALONE_SECONDS = 1.0  # a worker takes longer than that to start

Pixels = NDArray[np.uint8]


class Fit(NamedTuple):
    """How an image becomes a square: its centre, `crop` of the shorter side wide, scaled to size × size."""

    size: int
    crop: float = 1.0
    interpolation: str = "bilinear"


def fit_square(image: Image.Image, fit: int | Fit) -> Image.Image:
    """Scale the centre square of an image."""
    size, crop, interpolation = fit if isinstance(fit, Fit) else Fit(fit)
    width, height = image.size
    edge = max(1, round(min(width, height) * crop))
    if width == height == edge == size:
        return image
    left, top = (width - edge) // 2, (height - edge) // 2
    square = image.crop((left, top, left + edge, top + edge))
    return square.resize((size, size), Image.Resampling[interpolation.upper()])


def decode_rows(images: ImageRows, rows: NDArray[np.int64], fit: int | Fit) -> Pixels:
    """Decode some rows, which ingest found usable, to [n, size, size, 3]."""
    size = fit.size if isinstance(fit, Fit) else fit
    block = np.empty((len(rows), size, size, 3), np.uint8)
    for place, row in enumerate(rows):
        try:
            block[place] = np.asarray(fit_square(decode_image(images.read(int(row)), sys.maxsize), fit))
        except BrokenImageError as error:
            raise DataError(
                f"image of row '{images.sample_ids[row]}' was usable at ingest and is no more: {error}.",
                "Run `puriflow store verify --discard`, then clean again.",
            ) from error
    return block


def decode_blocks(
    images: ImageRows, rows: NDArray[np.int64], fit: int | Fit, workers: int, block_rows: int = BLOCK_ROWS
) -> Iterator[Pixels]:
    """Decode rows in order, in blocks of equal length."""
    blocks = [rows[start : start + block_rows] for start in range(0, len(rows), block_rows)]
    yield from decode_each(images, blocks, fit, workers)


def decode_each(images: ImageRows, some: Iterable[NDArray[np.int64]], fit: int | Fit, workers: int) -> Iterator[Pixels]:
    """Decode blocks of rows in order: alone for a second, then, where much is left, by worker processes."""
    blocks = deque(some)
    started = time.monotonic()
    while blocks and (workers < 2 or len(blocks) < 2 * workers or time.monotonic() - started < ALONE_SECONDS):
        yield decode_rows(images, blocks.popleft(), fit)
    if blocks:
        yield from decode_by_workers(images, blocks, fit, workers)


def decode_by_workers(
    images: ImageRows, blocks: Iterable[NDArray[np.int64]], fit: int | Fit, workers: int
) -> Iterator[Pixels]:
    """Decode blocks in processes, a few blocks ahead of the reader."""
    with open_pool(images, fit, workers) as pool, killed_workers(workers):
        yield from run_ahead(pool, work, blocks, 2 * workers)


def open_pool(images: ImageRows, fit: int | Fit, workers: int) -> ProcessPoolExecutor:
    """Prepare processes that decode images of one dataset; they start with the first `work`."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, context, start_worker, (images, fit))


@contextmanager
def killed_workers(workers: int) -> Iterator[None]:
    """Say what it means that a worker died."""
    try:
        yield
    except BrokenProcessPool as error:
        raise ResourceError(
            f"one of {workers} decoding processes was killed, most often for want of memory.", "Lower workers."
        ) from error


_job: tuple[ImageRows, int | Fit]  # what a worker process works on


def start_worker(images: ImageRows, fit: int | Fit) -> None:
    """Prepare a worker: it leaves signals to its parent and ends when the parent does, however that ends."""
    global _job
    _job = (images, fit)
    for number in (signal.SIGINT, signal.SIGTERM):  # which a launcher or a terminal sends to all
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()


def end_with_parent() -> None:
    """Wait for the end of the parent, then end at once."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def work(rows: NDArray[np.int64]) -> Pixels:
    """Decode one block inside a worker."""
    images, fit = _job
    return decode_rows(images, rows, fit)
