"""Shards: encoded images packed one after the other; content decides the borders, so that an insertion moves few."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.artifacts import Ref
from pipeline.datasets.images import SHARD_FILE, SHARDS
from pipeline.keys import digest
from stages.ingest.workers import Bytes
from stages.shell import Context

SHARD_VERSION = 1
LEAST_BYTES = 16 << 20
MEAN_BYTES = 32 << 20  # of what follows the least
MOST_BYTES = 64 << 20

Data = Bytes | Callable[[], bytes]


class ShardWriter:
    """Take images in dataset order and publish each shard as soon as its last image is there."""

    def __init__(self, context: Context) -> None:
        self.refs: list[Ref] = []
        self._context = context
        self._sha256: list[str] = []
        self._data: list[Data] = []
        self._size = 0
        self._shard: list[int] = []  # of every row so far; -1 where it has no bytes
        self._offset: list[int] = []

    def __len__(self) -> int:
        return len(self._shard)

    def add(self, sha256: str, length: int, data: Data | None) -> None:
        """Add one row; a row without bytes lies in no shard."""
        if data is None or not length:
            self._shard.append(-1)
            self._offset.append(0)
            return
        self._shard.append(len(self.refs))
        self._offset.append(self._size)
        self._sha256.append(sha256)
        self._data.append(data)
        self._size += length
        if ends_shard(sha256, length, self._size):
            self._publish()

    def finish(self) -> tuple[pa.Array, NDArray[np.int64]]:
        """Publish the last shard; return shard key ('' = none) and offset of every row."""
        if self._data:
            self._publish()
        keys = pa.array([ref.key for ref in self.refs] + [""], pa.string())
        rows = np.array(self._shard, np.int64)
        return keys.take(pa.array(np.where(rows < 0, len(self.refs), rows))), np.array(self._offset, np.int64)

    def _publish(self) -> None:
        target = Ref(kind=SHARDS, key=digest(["shard", SHARD_VERSION, self._sha256]))
        self.refs.append(self._context.publish(target, self._write).ref)
        self._sha256, self._data, self._size = [], [], 0

    def _write(self, folder: Path) -> None:
        with (folder / SHARD_FILE).open("wb") as file:
            file.writelines(data() if callable(data) else data for data in self._data)


def ends_shard(sha256: str, length: int, size: int) -> bool:
    """Tell whether a row ends its shard: by its own checksum and length, once the shard is long enough."""
    drawn = int(sha256[:8], 16) * MEAN_BYTES < length << 32
    return size >= MOST_BYTES or (size >= LEAST_BYTES and drawn)
