"""What tests of several stages share: a store, images in it, a request's surroundings, stages run in this process."""

import io
import json
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.artifacts import Artifact, Manifest, Ref, list_files
from pipeline.config import StageConfig
from pipeline.datasets.annotations import Annotations, write_annotations
from pipeline.datasets.images import ROWS_SCHEMA
from pipeline.features import ROWS_SCHEMA as ROWS_SCHEMA_OF_FEATURES
from pipeline.features import FeaturesWriter
from pipeline.keys import digest
from pipeline.labels import label_table, write_labels
from pipeline.requests import Resources, StageRequest
from pipeline.store import FileStore, Store
from stages.shell.run import Produce, attempt
from stages.shell.stop import StopFlag

MakeImages = Callable[..., Artifact]
RunStage = Callable[..., Artifact]
MakeArtifact = Callable[..., Artifact]


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


def publish(store: Store, ref: Ref, write: Callable[[Path], object], metrics: dict[str, Any] | None = None) -> Artifact:
    with store.staging(ref.kind, ref.key) as folder:
        write(folder)
        manifest = Manifest(kind=ref.kind, key=ref.key, files=list_files(folder), metrics=metrics or {})
        return store.publish(folder, manifest)


def ids_of(count: int) -> list[str]:
    return [f"s{i:04d}" for i in range(count)]


def encode_png(image: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def make_images(store: FileStore) -> MakeImages:
    """Publish an images artifact of arrays [h, w, 3] (None: a broken row), all in one shard."""

    def make(arrays: Sequence[NDArray[np.uint8] | None]) -> Artifact:
        encoded = [b"" if a is None else encode_png(a) for a in arrays]
        checksums = ["" if not e else digest(e.hex()) for e in encoded]
        shard = digest(checksums)
        publish(store, Ref(kind="shards", key=shard), lambda f: (f / "data.bin").write_bytes(b"".join(encoded)))
        starts = np.cumsum([0, *[len(e) for e in encoded]])[:-1]
        rows = [
            {
                "sample_id": f"s{i:04d}", "sha256": checksums[i], "source": "", "width": 0 if a is None else a.shape[1],
                "height": 0 if a is None else a.shape[0], "status": "broken" if a is None else "ok",
                "reason": "empty: 0 bytes" if a is None else "", "shard": "" if a is None else shard,
                "offset": int(starts[i]), "length": len(encoded[i]),
            }
            for i, a in enumerate(arrays)
        ]  # fmt: skip
        table = pa.Table.from_pylist(rows, schema=ROWS_SCHEMA)
        ref = Ref(kind="images", key=digest(["images", checksums]))
        return publish(store, ref, lambda f: pq.write_table(table, f / "rows.parquet"))

    return make


@pytest.fixture
def run_stage(store: FileStore, tmp_path: Path) -> RunStage:
    """Run a stage's `produce` in this process, on one core, as its program would."""

    def run(
        config: StageConfig,
        produce: Produce[StageConfig],
        inputs: dict[str, Ref],
        target: Ref,
        hints: dict[str, Ref] | None = None,
        stop: StopFlag | None = None,
        checkpoint_seconds: float = 300.0,
        cache_gib: float | None = None,
        device: str = "cpu",
    ) -> Artifact:
        request = StageRequest(
            stage="test", kind=target.kind, key=target.key, config=config.model_dump(mode="json"), inputs=inputs,
            hints=hints or {}, store=store.url, work=str(tmp_path / "work"),
            resources=Resources(
                device=device, workers=1, checkpoint_seconds=checkpoint_seconds, cache_gib=cache_gib
            ),
        )  # fmt: skip
        return attempt(request, type(config), produce, stop or StopFlag())

    return run


@pytest.fixture
def make_annotations(store: FileStore) -> MakeArtifact:
    """Publish annotations of given labels; -1 means none."""

    def make(given: Sequence[int], names: Sequence[str], **more: Any) -> Artifact:
        count = len(given)
        trusted = np.asarray(more.pop("trusted", [-1] * count), np.int32)
        title = more.pop("title", "Toys")
        columns = {
            "sample_ids": ids_of(count), "given": np.asarray(given, np.int32),
            "annotators": np.empty((count, 0), np.int32),
            "trusted": trusted, "origin": np.where(trusted >= 0, "random", ""), "propensity": np.full(count, np.nan),
            "split": np.asarray(more.pop("split", ["train"] * count)), "class_names": list(names), "own": None,
            "dataset": "toys",
        }  # fmt: skip
        made = Annotations(**(columns | more))
        ref = Ref(kind="annotations", key=digest(uuid.uuid4().hex))
        return publish(store, ref, lambda f: write_annotations(f, made), {"dataset": "toys", "title": title})

    return make


@pytest.fixture
def make_labels(store: FileStore) -> MakeArtifact:
    """Publish a label table with beliefs [N, K] behind it; `more` overrides any column."""

    def make(
        labels: tuple[Sequence[int], Sequence[int]], beliefs: NDArray[np.float64], names: Sequence[str], **more: Any
    ) -> Artifact:
        summary = {"gate": {"open": True, "verdict": "proven"}} | more.pop("summary", {})
        audit = more.pop("audit", None)
        table = label_table(label_columns(labels, beliefs) | more, names)
        metadata = {"classes": list(names), "keys": {}, "config": {}, "noise": {}, "audit": {}, "gate": {}}

        def write(folder: Path) -> None:
            write_labels(folder / "labels.parquet", table, metadata)
            (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
            if audit is not None:
                pq.write_table(audit, folder / "audit.parquet")

        return publish(store, Ref(kind="labels", key=digest(uuid.uuid4().hex)), write, {"seconds": 1.5})

    return make


def label_columns(labels: tuple[Sequence[int], Sequence[int]], beliefs: NDArray[np.float64]) -> dict[str, Any]:
    """Lay out the columns of a label table whose given and purified labels are known."""
    given, purified = np.asarray(labels[0]), np.asarray(labels[1])
    count, classes = beliefs.shape
    best = np.argsort(-beliefs, axis=1, kind="stable")[:, : min(classes, 10)]
    given_confidence = beliefs[np.arange(count), np.maximum(given, 0)].astype(np.float32)
    return {
        "sample_id": ids_of(count), "given_label": given, "suggested_label": purified, "purified_label": purified,
        "action": np.where(given == purified, "keep", "relabel").tolist(),
        "confidence": beliefs[np.arange(count), purified].astype(np.float32),
        "given_confidence": pa.array(given_confidence, mask=given < 0),
        "top_labels": pa.array(best.tolist(), pa.list_(pa.int32())),
        "top_probs": pa.array(np.take_along_axis(beliefs, best, 1).tolist(), pa.list_(pa.float32())),
        "neighbour_agreement": np.full(count, 0.5, np.float32),
        "outlier_score": np.linspace(0, 1, count, dtype=np.float32), "duplicate_of": pa.nulls(count, pa.string()),
        "split": ["train"] * count, "trusted": np.zeros(count, bool), "trusted_origin": pa.nulls(count, pa.string()),
        "audit": np.zeros(count, bool),
    }  # fmt: skip


@pytest.fixture
def make_features(store: FileStore) -> MakeArtifact:
    """Publish features; rows that hold NaN are broken. What rows are made from is named by their ids, or given."""

    def make(values: NDArray[np.float32], content: Sequence[str] = ()) -> Artifact:
        good = np.isfinite(values).all(axis=1)

        def write(folder: Path) -> None:
            writer = FeaturesWriter(folder, values.shape[1], np.float32)
            writer.append(np.where(good[:, None], values, np.float32(0)))
            ids, status = ids_of(len(values)), np.where(good, "ok", "broken")
            writer.close(
                pa.table([ids, content or ids, status, np.where(good, "", "holds NaN")], ROWS_SCHEMA_OF_FEATURES.names)
            )

        return publish(store, Ref(kind="features", key=digest([values.tobytes().hex(), *content])), write)

    return make
