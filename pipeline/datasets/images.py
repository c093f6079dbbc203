"""The images artifact: one row per sample in dataset order, and its encoded bytes in shards or where they were."""

import hashlib
import mmap
from collections import OrderedDict
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.artifacts import Artifact, Ref
from pipeline.errors import DataError

KIND = "images"
SHARDS = "shards"
ROWS_FILE = "rows.parquet"
SHARD_FILE = "data.bin"
OPEN_SHARDS = 128

ROWS_SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("sha256", pa.string()),
        ("source", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("shard", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
    ]
)


class ImageRows:
    """The rows of an images artifact and their bytes; opens files when asked, so it may travel to worker processes."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        self.root = Path(str(artifact.metrics.get("root", "")))  # reference mode: what `source` starts from
        self._maps: OrderedDict[str, mmap.mmap] = OrderedDict()

    def __reduce__(self) -> tuple[type["ImageRows"], tuple[Artifact]]:
        return ImageRows, (self.artifact,)

    @cached_property
    def rows(self) -> pa.Table:
        """Return the table of rows (columns: ROWS_SCHEMA)."""
        return pq.read_table(self.artifact.path(ROWS_FILE))

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    @cached_property
    def sample_ids(self) -> list[str]:
        """Return the ids in dataset order."""
        return list(self.rows["sample_id"].to_pylist())

    @cached_property
    def sha256(self) -> list[str]:
        """Return the checksum of every row's encoded bytes ('' where there are none)."""
        return list(self.rows["sha256"].to_pylist())

    @cached_property
    def ok(self) -> NDArray[np.bool_]:
        """Tell which rows can be decoded; the others are quarantined, see `reason`."""
        return np.asarray(self.rows["status"].to_numpy() == "ok", dtype=np.bool_)

    @cached_property
    def _places(self) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
        shards = self.rows["shard"].combine_chunks().dictionary_encode()
        names = shards.dictionary.to_pylist()
        keys = [names[i] for i in shards.indices.to_pylist()]
        return keys, self.rows["offset"].to_numpy(), self.rows["length"].to_numpy()

    def read(self, row: int) -> bytes:
        """Read the encoded bytes of one row."""
        keys, offsets, lengths = self._places
        if not keys[row]:
            return self._read_source(row)
        start = int(offsets[row])
        return self._map(keys[row])[start : start + int(lengths[row])]

    def _map(self, key: str) -> mmap.mmap:
        if key not in self._maps:
            path = self.artifact.store.get(Ref(kind=SHARDS, key=key)).path(SHARD_FILE)
            with path.open("rb") as file:
                self._maps[key] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            if len(self._maps) > OPEN_SHARDS:  # each holds a file handle
                self._maps.popitem(last=False)
        self._maps.move_to_end(key)
        return self._maps[key]

    def _read_source(self, row: int) -> bytes:
        sample, path = self.sample_ids[row], self.root / str(self.rows["source"][row])
        expected = str(self.rows["sha256"][row])
        if not expected:
            raise DataError(
                f"row '{sample}' has no image ({self.rows['reason'][row]}).", "Skip rows whose status is not ok."
            )
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DataError(
                f"image {path} of row '{sample}' cannot be read ({error.strerror}).",
                "Bring it back or run ingest again.",
            ) from error
        if hashlib.sha256(data).hexdigest() != expected:
            raise DataError(
                f"image {path} of row '{sample}' is not the one that was ingested (sha256 {expected[:12]}… expected).",
                "Run ingest again, or use `dataset.images: copy`.",
            )
        return data


def open_images(artifact: Artifact) -> ImageRows:
    """Open an images artifact."""
    return ImageRows(artifact)
