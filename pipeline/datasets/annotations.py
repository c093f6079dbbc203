"""The annotations artifact: the labels of every sample as they came, the trusted ones, splits and own columns."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.artifacts import Artifact

KIND = "annotations"
TABLE_FILE = "annotations.parquet"
OWN_FILE = "own.parquet"
CLASSES_FILE = "classes.json"
SPLITS = ("train", "validation", "test")
ORIGINS = ("random", "selected", "unknown")
NO_LABEL = -1


@dataclass(frozen=True)
class Annotations:
    """Labels in dataset order; -1 stands for none, '' and NaN for what belongs to no trusted row."""

    sample_ids: list[str]
    given: NDArray[np.int32]  # [N]
    annotators: NDArray[np.int32]  # [N, A]; A = 0 where there is one column of given labels
    trusted: NDArray[np.int32]  # [N]
    origin: NDArray[np.str_]  # [N] random | selected | unknown | ''
    propensity: NDArray[np.float64]  # [N], NaN where unknown
    split: NDArray[np.str_]  # [N] train | validation | test
    class_names: list[str]
    own: pa.Table | None  # sample_id and the user's other columns
    dataset: str

    def __len__(self) -> int:
        return len(self.sample_ids)


def open_annotations(artifact: Artifact) -> Annotations:
    """Read an annotations artifact."""
    table = pq.read_table(artifact.path(TABLE_FILE))
    several = [name for name in table.column_names if name.startswith("given_label_")]
    return Annotations(
        sample_ids=table["sample_id"].to_pylist(),
        given=labels_of(table["given_label"]),
        annotators=np.stack([labels_of(table[n]) for n in several], axis=1)
        if several
        else np.empty((table.num_rows, 0), np.int32),
        trusted=labels_of(table["trusted_label"]),
        origin=np.array(table["trusted_origin"].fill_null("").to_pylist(), dtype=np.str_),
        propensity=table["propensity"].fill_null(np.nan).to_numpy(),
        split=np.array(table["split"].to_pylist(), dtype=np.str_),
        class_names=json.loads(artifact.path(CLASSES_FILE).read_text(encoding="utf-8")),
        own=pq.read_table(artifact.path(OWN_FILE)) if artifact.has(OWN_FILE) else None,
        dataset=str(artifact.metrics.get("dataset", "")),
    )


def labels_of(column: pa.ChunkedArray) -> NDArray[np.int32]:
    """Read a nullable column of labels; null becomes -1."""
    return np.asarray(column.fill_null(NO_LABEL).to_numpy(), dtype=np.int32)


def annotations_table(annotations: Annotations) -> pa.Table:
    """Lay annotations out as the contract's table."""

    def label(values: NDArray[np.int32]) -> pa.Array:
        return pa.array(values, pa.int32(), mask=values == NO_LABEL)

    columns = {"sample_id": pa.array(annotations.sample_ids, pa.string()), "given_label": label(annotations.given)}
    for number in range(annotations.annotators.shape[1]):
        columns[f"given_label_{number + 1}"] = label(annotations.annotators[:, number])
    columns["trusted_label"] = label(annotations.trusted)
    columns["trusted_origin"] = pa.array(annotations.origin, pa.string(), mask=annotations.origin == "")
    columns["propensity"] = pa.array(annotations.propensity, pa.float64(), mask=np.isnan(annotations.propensity))
    columns["split"] = pa.array(annotations.split, pa.string())
    return pa.table(columns)


def write_annotations(folder: Path, annotations: Annotations) -> None:
    """Write the files of an annotations artifact."""
    pq.write_table(annotations_table(annotations), folder / TABLE_FILE)
    if annotations.own is not None:
        pq.write_table(annotations.own, folder / OWN_FILE)
    names = json.dumps(annotations.class_names, ensure_ascii=False, indent=1)
    (folder / CLASSES_FILE).write_text(names, encoding="utf-8")
