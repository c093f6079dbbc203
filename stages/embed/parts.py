"""Computed features in parts: each published once, found again by any attempt and any process, dropped in the end.

Where parts begin depends on nothing but the number of rows, so they are the same files for any number of processes.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.artifacts import Manifest, Ref, list_files
from pipeline.errors import PuriflowError
from pipeline.keys import digest
from pipeline.store import Store, utc_now
from stages.shell.checkpoints import KIND, is_intact

PART_FILE = "part.npy"
PARTS = 256  # wanted; a part takes from 1,024 to 16,384 rows
SMALLEST, LARGEST = 1024, 16_384

Floats = NDArray[np.float32]


def part_rows(rows: int) -> int:
    """Choose the rows of a part: what is lost at most when a process is killed."""
    size = SMALLEST
    while size < LARGEST and size * PARTS < rows:
        size *= 2
    return size


class Parts:
    """The parts of the features under one key, in the order of the rows that had to be computed."""

    def __init__(self, store: Store, key: str, content: pa.ChunkedArray) -> None:
        self._store = store
        self._place = f"{KIND}/{key}"
        self._key = key
        self._content = content  # what the rows are made from
        self.size = part_rows(len(content))
        self._open: dict[int, Floats] = {}

    def __len__(self) -> int:
        return -(-len(self._content) // self.size)

    def rows(self, number: int) -> NDArray[np.int64]:
        """List the rows of one part."""
        return np.arange(number * self.size, min((number + 1) * self.size, len(self._content)))

    def name(self, number: int) -> str:
        """Name a part by its place and what is in it, so that parts of other rows are not taken for it."""
        rows = self.rows(number)
        content = self._content.slice(int(rows[0]), len(rows)).to_pylist()
        return f"{number:06d}-{digest(content)[:12]}"

    def is_there(self, number: int) -> bool:
        """Tell whether a part is there as it was written; what is damaged is removed."""
        key = f"{self._key}/{self.name(number)}"
        with suppress(PuriflowError, OSError):
            found = self._store.find(KIND, key)
            if found is None or is_intact(found):
                return found is not None
        self._store.remove(f"{KIND}/{key}")
        return False

    def missing(self, numbers: Iterable[int]) -> list[int]:
        """List those of some parts that nobody has computed."""
        return [number for number in numbers if not self.is_there(number)]

    def save(self, number: int, features: Floats) -> None:
        """Publish one part; where another process was faster, its part stays."""
        key = f"{self._key}/{self.name(number)}"
        with self._store.staging(KIND, key) as folder:
            np.save(folder / PART_FILE, features, allow_pickle=False)
            made = Manifest(kind=KIND, key=key, files=list_files(folder), metrics={"step": number}, created=utc_now())
            self._store.publish(folder, made)

    def read(self, rows: NDArray[np.int64], dim: int) -> Floats:
        """Read some rows, which must be there, in their order [n, dim]."""
        result = np.empty((len(rows), dim), np.float32)
        for number in np.unique(rows // self.size):
            here = rows // self.size == number
            result[here] = self._part(int(number))[rows[here] - number * self.size]
        return result

    def _part(self, number: int) -> Floats:
        if number not in self._open:
            found = self._store.get(Ref(kind=KIND, key=f"{self._key}/{self.name(number)}"))
            self._open = {number: np.load(found.path(PART_FILE), mmap_mode="r", allow_pickle=False)}
        return self._open[number]

    def clear(self) -> None:
        """Drop all parts: the features are there."""
        if self._store.children(self._place):
            self._store.remove(self._place)


def batches(parts: Parts, numbers: Iterable[int], size: int) -> Iterator[NDArray[np.int64]]:
    """Cut the rows of parts into batches; none reaches over the end of its part, so that parts repeat to the bit."""
    for number in numbers:
        rows = parts.rows(number)
        yield from (rows[start : start + size] for start in range(0, len(rows), size))
