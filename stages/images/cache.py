"""The uint8 cache: every image decoded once to one size, memory-mapped; and batches of images on the device."""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.images.stream import StreamedPixels
from stages.images.transfer import bring_ahead
from stages.shell.ranks import ALONE, Ranks

CACHE_FILE = "pixels.npy"
RESIDENT_SHARE = 0.4  # of the free memory of a GPU
MEASURED_IMAGES = 10_000

Pixels = NDArray[np.uint8]


def write_cache(folder: Path, blocks: Iterable[Pixels], shape: tuple[int, int], ranks: Ranks = ALONE) -> Pixels:
    """Write blocks of images to one file and map it, [rows, size, size, 3]; one process of a machine does for all.

    The file loses its name at once: its space comes back when the process ends, however that ends.
    """
    path = folder / f"{ranks.node}-{CACHE_FILE}"
    if ranks.local_rank == 0:
        write_blocks(path, blocks, *shape)
    ranks.wait()
    pixels: Pixels = np.load(path, mmap_mode="c", allow_pickle=False)
    ranks.wait()
    if ranks.local_rank == 0:
        path.unlink()
    return pixels


def write_blocks(path: Path, blocks: Iterable[Pixels], rows: int, size: int) -> None:
    """Write blocks of images one after the other as one array [rows, size, size, 3]."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (rows, size, size, 3)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(block.tobytes())


def to_batch(pixels: Tensor, device: torch.device) -> Tensor:
    """Turn uint8 [n, h, w, 3] into floats 0..1 [n, 3, h, w] on the device, channels last in memory."""
    return pixels.to(device, non_blocking=True).permute(0, 3, 1, 2).float().div_(255.0)


class MappedPixels:
    """The rows of a mapped array, as StreamedPixels gives them."""

    def __init__(self, pixels: Tensor) -> None:
        self._pixels = pixels

    def __len__(self) -> int:
        return len(self._pixels)

    def take(self, rows: Tensor) -> Tensor:
        """Gather some images."""
        return self._pixels[rows]

    def take_all(self, batches: Iterator[Tensor]) -> Iterator[Tensor]:
        """Gather batch after batch."""
        return map(self.take, batches)


class ImageCache:
    """Images as batches: resident on a GPU where they fit, else gathered from the cache, or decoded on the way."""

    def __init__(self, pixels: Pixels | StreamedPixels, device: torch.device) -> None:
        self._device = device
        self._resident: Tensor | None = None
        self._ahead: Iterator[tuple[Tensor, Tensor]] = iter(())
        if isinstance(pixels, StreamedPixels):
            self._source: MappedPixels | StreamedPixels = pixels
            self._makes_ahead = True
            return
        self._source = MappedPixels(torch.from_numpy(pixels))
        self._makes_ahead = device.type == "cuda"
        if device.type == "cuda" and pixels.nbytes < RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]:
            self._resident = torch.from_numpy(pixels).to(device)

    def __len__(self) -> int:
        return len(self._source)

    def batch(self, rows: Tensor, then: Iterator[Tensor] | None = None) -> Tensor:
        """Take some images as floats 0..1, [n, 3, size, size]; `then`: the rows of the batches that will follow."""
        if self._resident is not None:
            return to_batch(self._resident[rows.pin_memory().to(self._device, non_blocking=True)], self._device)
        if then is None or not self._makes_ahead:
            chosen = self._source.take(rows)
            return to_batch(chosen.pin_memory() if self._device.type == "cuda" else chosen, self._device)
        asked, pixels = next(self._ahead, (None, None))
        if asked is None or pixels is None or not torch.equal(asked, rows):
            self._ahead = self._made_ahead(chain([rows], then))
            _, pixels = next(self._ahead)
        return to_batch(pixels, self._device)

    def _made_ahead(self, batches: Iterator[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Pair the rows of each batch with its pixels, which are made while earlier batches are worked on."""
        asked: deque[Tensor] = deque()

        def remembered() -> Iterator[Tensor]:
            for rows in batches:
                asked.append(rows)
                yield rows

        made = self._source.take_all(remembered())
        for pixels in bring_ahead(made, self._device) if self._device.type == "cuda" else made:
            yield asked.popleft(), pixels

    def mean_and_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Measure mean and standard deviation of each channel, over 10,000 images, evenly spread, at most."""
        count = min(len(self), MEASURED_IMAGES)
        rows = torch.arange(count) * len(self) // count
        total, squares, pixels = torch.zeros(3), torch.zeros(3), 0
        for some in torch.split(rows, 1000):
            batch = self.batch(some).cpu().double()
            total = total + batch.sum(dim=(0, 2, 3))
            squares = squares + batch.square().sum(dim=(0, 2, 3))
            pixels += batch[:, 0].numel()
        mean = total / pixels
        std = (squares / pixels - mean.square()).clamp(min=0).sqrt().clamp(min=0.01)
        return tuple(round(x, 6) for x in mean.tolist()), tuple(round(x, 6) for x in std.tolist())
