"""Load images for training: decoded once into the uint8 cache, saying how far it is."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.images import ImageRows
from pipeline.errors import ResourceError
from stages.images.cache import Pixels, write_cache
from stages.images.decoding import Fit, decode_blocks
from stages.shell import Context


def load_pixels(images: ImageRows, rows: NDArray[np.int64], fit: int | Fit, context: Context) -> Pixels:
    """Decode some rows into the cache, [n, size, size, 3]."""
    ranks = context.ranks

    def blocks() -> Iterator[Pixels]:
        done = 0
        for block in decode_blocks(images, rows, fit, context.workers * ranks.local_world):
            context.stop.check()
            yield block
            done += len(block)
            context.progress.report("decode", done, len(rows), "images")

    folder = context.request.work_folder
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return write_cache(folder, blocks(), (len(rows), fit.size if isinstance(fit, Fit) else fit), ranks)
    except ResourceError:
        context.stop.check()  # torchrun asks the decoding processes to end as well
        raise
