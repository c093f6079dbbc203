"""Load images for training: decoded once into the uint8 cache where the disk has room, else decoded on the way."""

import shutil
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.images import ImageRows
from pipeline.errors import ResourceError
from stages.images.cache import Pixels, write_cache
from stages.images.decoding import Fit, decode_blocks
from stages.images.stream import StreamedPixels
from stages.shell import Context

SHARE_OF_FREE_DISK = 0.5
GIB = 1 << 30


def load_pixels(
    images: ImageRows, rows: NDArray[np.int64], fit: int | Fit, context: Context
) -> Pixels | StreamedPixels:
    """Decode some rows into the cache, [n, size, size, 3], or prepare to decode them whenever they are asked for."""
    size = fit.size if isinstance(fit, Fit) else fit
    context.request.work_folder.mkdir(parents=True, exist_ok=True)
    if context.ranks.any(len(rows) * size * size * 3 > disk_budget(context)):
        return StreamedPixels(images, rows, fit, context.workers)
    return fill_cache(images, rows, fit, context)


def disk_budget(context: Context) -> float:
    """Count the bytes that decoded images may take on this machine's disk."""
    if context.resources.cache_gib is not None:
        return context.resources.cache_gib * GIB
    return SHARE_OF_FREE_DISK * shutil.disk_usage(context.request.work_folder).free


def fill_cache(images: ImageRows, rows: NDArray[np.int64], fit: int | Fit, context: Context) -> Pixels:
    """Decode some rows into the cache, saying how far it is."""
    ranks = context.ranks

    def blocks() -> Iterator[Pixels]:
        done = 0
        for block in decode_blocks(images, rows, fit, context.workers * ranks.local_world):
            context.stop.check()
            yield block
            done += len(block)
            context.progress.report("decode", done, len(rows), "images")

    try:
        shape = (len(rows), fit.size if isinstance(fit, Fit) else fit)
        return write_cache(context.request.work_folder, blocks(), shape, ranks)
    except ResourceError:
        context.stop.check()  # torchrun asks the decoding processes to end as well
        raise
