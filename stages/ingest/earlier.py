"""What the last ingest of a dataset knew: files that have not changed need not be read, known bytes not decoded."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.artifacts import Artifact
from pipeline.datasets.config import DatasetConfig
from pipeline.datasets.files import Files
from pipeline.datasets.images import ImageRows
from pipeline.store import Store
from stages.images.decode import DECODE_VERSION
from stages.ingest.samples import Pack
from stages.ingest.workers import Answer

LISTING_FILE = "listing.parquet"
LISTING_SCHEMA = pa.schema([("uri", pa.string()), ("size", pa.int64()), ("mtime", pa.int64()), ("sha256", pa.string())])
UNKNOWN = -1


@dataclass(frozen=True)
class Earlier:
    """The listing and the images of an earlier run, row by row in the same order."""

    listing: pa.Table
    images: ImageRows

    def files(self, files: Files) -> NDArray[np.int64]:
        """Find the earlier row of every file that has kept name, size and time (-1 where there is none)."""
        rows = self._rows(pc.index_in(pa.array(files.uri, pa.string()), value_set=self.listing["uri"]))
        same = (self._column("size")[rows] == files.size) & (self._column("mtime")[rows] == files.mtime)
        return np.where((rows >= 0) & same & self._hashed[rows], rows, UNKNOWN)

    def pack(self, pack: Pack) -> NDArray[np.int64]:
        """Find the earlier rows of a file of images that has not changed (none where it has)."""
        first = pc.index(self.listing["uri"], pack.uri).as_py()
        if first < 0:
            return np.empty(0, np.int64)
        rows = np.arange(first, min(first + pack.rows, len(self.listing)))
        same = (self._column("size")[rows] == pack.size) & (self._column("mtime")[rows] == pack.mtime)
        same &= np.asarray(pc.equal(self.listing["uri"].slice(first, len(rows)), pack.uri).to_numpy())
        return rows if len(rows) == pack.rows and bool(same.all()) else np.empty(0, np.int64)

    def contents(self, sha256: list[str]) -> NDArray[np.int64]:
        """Find an earlier row with the same bytes (-1 where there is none)."""
        return self._rows(pc.index_in(pa.array(sha256, pa.string()), value_set=self.images.rows["sha256"]))

    def answer(self, rows: NDArray[np.int64]) -> Answer:
        """Say again what was found out about rows."""
        taken = self.images.rows.select(["sha256", "width", "height", "reason", "length"]).take(pa.array(rows))
        sha256, width, height, reason, lengths = (column.to_pylist() for column in taken.columns)
        return Answer(sha256, width, height, reason, lengths)

    @property
    def _hashed(self) -> NDArray[np.bool_]:
        return np.asarray(pc.not_equal(self.listing["sha256"], "").to_numpy())

    def _column(self, name: str) -> NDArray[np.int64]:
        return np.asarray(self.listing[name].to_numpy())

    @staticmethod
    def _rows(found: pa.Array) -> NDArray[np.int64]:
        return np.asarray(pc.fill_null(found, UNKNOWN).to_numpy(zero_copy_only=False), dtype=np.int64)


def open_earlier(hint: Artifact | None, config: DatasetConfig, store: Store) -> Earlier | None:
    """Open what an earlier run knew, where it judged images as this one will."""
    if hint is None or config.rehash or "images" not in hint.manifest.inputs:
        return None
    same = all(hint.manifest.config.get(name) == getattr(config, name) for name in ("max_pixels", "images"))
    ref = hint.manifest.inputs["images"]
    artifact = store.find(ref.kind, ref.key)
    if artifact is None or not same or hint.metrics.get("decode_version") != DECODE_VERSION:
        return None
    if any(store.find(r.kind, r.key) is None for r in artifact.manifest.inputs.values()):
        return None
    listing, images = pq.read_table(hint.path(LISTING_FILE)), ImageRows(artifact)
    return Earlier(listing, images) if len(listing) == len(images) and len(listing) else None
