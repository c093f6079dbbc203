"""A label table with what belongs to its rows: their images, the user's own columns, whole beliefs."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.artifacts import Artifact
from pipeline.datasets.annotations import OWN_FILE
from pipeline.datasets.images import ImageRows, open_images
from pipeline.errors import ContractError
from pipeline.labels import LABELS_FILE, read_labels, read_metadata
from pipeline.store import FileStore, Store

BELIEFS_FILE = "beliefs.npy"


@dataclass(frozen=True)
class Labelled:
    """The rows of a label table (all or some of them, in dataset order) and what can be brought for each."""

    table: pa.Table
    metadata: dict[str, Any]
    rows: NDArray[np.int64]  # where each row stands in the dataset
    images: ImageRows | None = None
    own: pa.Table | None = None  # sample_id and the user's columns
    beliefs_file: Path | None = None

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def classes(self) -> list[str]:
        """Return the class names."""
        return list(self.metadata["classes"])

    @property
    def key(self) -> str:
        """Return the key of the label table, '' where it was not told."""
        return str(self.metadata["keys"].get("labels", ""))

    def take(self, mask: NDArray[np.bool_]) -> "Labelled":
        """Keep some of the rows."""
        table = self.table.filter(pa.array(mask))
        return Labelled(table, self.metadata, self.rows[mask], self.images, self.own, self.beliefs_file)

    def words(self, column: str) -> list[str | None]:
        """Read a column of words."""
        return list(self.table[column].cast(pa.string()).to_pylist())

    def labels(self, column: str) -> NDArray[np.int32]:
        """Read a column of labels, -1 where there is none."""
        return np.asarray(self.table[column].fill_null(-1).to_numpy(), dtype=np.int32)

    @cached_property
    def own_columns(self) -> pa.Table | None:
        """Return the user's columns of these rows, in their order."""
        if self.own is None or self.own.num_columns < 2:
            return None
        places = pc.index_in(self.table["sample_id"], value_set=self.own["sample_id"].combine_chunks())
        return self.own.drop_columns(["sample_id"]).take(places)

    def beliefs(self) -> NDArray[np.float32]:
        """Return a probability for each class [n, K]; what the ten best leave over is spread over the others."""
        if self.beliefs_file is not None:
            stored = np.load(self.beliefs_file, mmap_mode="r", allow_pickle=False)[self.rows].astype(np.float32)
        else:
            stored = self._from_top(len(self.classes))
        return np.asarray(stored / stored.sum(axis=1, keepdims=True), dtype=np.float32)

    def _from_top(self, classes: int) -> NDArray[np.float32]:
        labels, probs = (self.table[name].combine_chunks() for name in ("top_labels", "top_probs"))
        width = np.diff(labels.offsets.to_numpy())
        row = np.repeat(np.arange(len(self)), width)
        column = labels.flatten().to_numpy()
        result = np.zeros((len(self), classes), np.float32)
        rest = np.ones(len(self), np.float32)
        np.subtract.at(rest, row, probs.flatten().to_numpy())
        result += (np.maximum(rest, 0) / np.maximum(classes - width, 1))[:, None]
        result[row, column] = probs.flatten().to_numpy()
        return result + np.float32(1e-9)


def open_labelled(path: Path, store: Store | None = None) -> Labelled:
    """Open a label table; images and further columns come with it where its store can be found.

    A table inside a local store finds that store by itself.
    """
    table, metadata = read_labels(path), read_metadata(path)
    rows = np.arange(table.num_rows)
    artifact = _artifact_of(path, str(metadata["keys"].get("labels", "")), store)
    if artifact is None:
        return Labelled(table, metadata, rows)
    found = artifact.store
    annotations = _input(found, artifact, "annotations")
    features = _input(found, artifact, "features")
    images = _input(found, features, "images") if features else None
    if images is not None and images.metrics.get("rows", table.num_rows) != table.num_rows:
        raise ContractError(
            f"label table {path.name} has {table.num_rows} rows, {images.ref} has {images.metrics['rows']}.",
            "Run `puriflow clean` again.",
        )
    return Labelled(
        table, metadata, rows,
        images=open_images(images) if images else None,
        own=pq.read_table(annotations.path(OWN_FILE)) if annotations and annotations.has(OWN_FILE) else None,
        beliefs_file=artifact.path(BELIEFS_FILE) if artifact.has(BELIEFS_FILE) else None,
    )  # fmt: skip


def _artifact_of(path: Path, key: str, store: Store | None) -> Artifact | None:
    """Find the labels artifact of a table: in the store that was named, or in the one that it lies in."""
    path = path.absolute()
    stores = [store] if store else [FileStore(root) for root in path.parents[1:4] if (root / "labels" / key).is_dir()]
    found = (one.find("labels", key) for one in stores if key)
    return next((artifact for artifact in found if artifact is not None and artifact.has(LABELS_FILE)), None)


def _input(store: Store, artifact: Artifact, name: str) -> Artifact | None:
    ref = artifact.manifest.inputs.get(name)
    return store.find(ref.kind, ref.key) if ref else None
