"""A small store with one finished run, made by hand: no stage has to run for these tests."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.artifacts import Artifact, Manifest, Ref, list_files
from pipeline.labels import label_table, write_labels
from pipeline.store import FileStore, utc_now
from pipeline.store.runs import RunArtifact, begin_run, save_run

ROWS = 6
GATE = {"setting": "strict", "verdict": "proven", "open": True, "reason": "the lower bound is above 0."}
NOISE = {"rate": 0.4, "low": 0.35, "high": 0.45}
AUDIT = {
    "rows": 100, "given_right": 0.6, "suggested_right": 0.95, "gain": 0.35, "gain_low": 0.25, "gain_high": 0.45,
}  # fmt: skip


def tiny_labels() -> pa.Table:
    return label_table(
        {
            "sample_id": [f"row {i}" for i in range(ROWS)],
            "given_label": np.array([0, 1, 0, -1, 1, 0]),
            "suggested_label": np.array([0, 0, 0, 1, 1, 0]),
            "purified_label": np.array([0, 0, 0, 1, 1, 0]),
            "action": ["keep", "relabel", "review", "relabel", "trusted", "none"],
            "confidence": [0.9, 0.8, 0.5, 0.7, 1.0, 0.9],
            "given_confidence": [0.9, 0.1, 0.5, None, 1.0, 0.9],
            "top_labels": pa.array([[0, 1]] * ROWS, pa.list_(pa.int32())),
            "top_probs": pa.array([[0.75, 0.25]] * ROWS, pa.list_(pa.float32())),
            "neighbour_agreement": [1.0] * ROWS,
            "outlier_score": [0.0] * ROWS,
            "duplicate_of": pa.array([None] * ROWS, pa.string()),
            "split": ["train"] * (ROWS - 1) + ["test"],
            "trusted": [i == 4 for i in range(ROWS)],
            "trusted_origin": [("random" if i == 4 else None) for i in range(ROWS)],
            "audit": [False] * ROWS,
        },
        ["cat", "dög"],
    )


def publish(store: FileStore, kind: str, key: str, inputs: dict[str, Ref], metrics: dict[str, Any]) -> Artifact:
    with store.staging(kind, key) as folder:
        if kind == "labels":
            metadata = {"classes": ["cat", "dög"], "keys": {}, "config": {}, "noise": NOISE, "audit": AUDIT}
            write_labels(folder / "labels.parquet", tiny_labels(), {**metadata, "gate": GATE})
        else:
            (folder / "content").write_text(key)
        manifest = Manifest(
            kind=kind, key=key, stage=kind, inputs=inputs, files=list_files(folder), metrics=metrics, created=utc_now()
        )
        return store.publish(folder, manifest)


@dataclass(frozen=True)
class Finished:
    """A finished run and its store."""

    store: FileStore
    annotations: Artifact
    labels: Artifact

    @property
    def url(self) -> str:
        return str(self.store.root)


@pytest.fixture
def finished(tmp_path: Path) -> Finished:
    store = FileStore(tmp_path / "a store")
    annotations = publish(store, "annotations", "a" * 32, {}, {"rows": ROWS})
    labels = publish(store, "labels", "b" * 32, {"annotations": annotations.ref}, {"gate": GATE, "seconds": 3.0})
    run = begin_run(store, "pets").with_artifact("purify", RunArtifact(ref=labels.ref))
    save_run(store, run.ended("completed"))
    return Finished(store, annotations, labels)
