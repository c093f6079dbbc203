import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.artifacts import Artifact, Ref
from pipeline.errors import ContractError
from pipeline.labels import read_labels, read_metadata
from pipeline.neighbours import Neighbours, write_neighbours
from pipeline.noise import inject
from pipeline.store import FileStore
from stages.purify.config import BASELINES, PurifyConfig
from stages.purify.options import DmlpOptions
from stages.purify.produce import produce

Make = Callable[..., Any]
NAMES = ["ape", "bee", "Käfer"]
ROWS = 150


@pytest.fixture
def inputs(store: FileStore, make_annotations: Make, make_features: Make) -> Callable[..., dict[str, Ref]]:
    def make(**more: Any) -> dict[str, Ref]:
        rng = np.random.default_rng(0)
        truth = rng.integers(0, 3, ROWS)
        values = (3 * np.eye(3, 5)[truth] + rng.normal(size=(ROWS, 5))).astype(np.float32)
        values[7] = np.nan
        given = inject(truth, "symmetric", 0.3, 3, 0)
        given[11] = -1
        trusted = np.where(np.arange(ROWS) % 4 == 0, truth, -1)
        split = np.where(np.arange(ROWS) < 120, "train", "test")
        annotations = make_annotations(given, NAMES, trusted=trusted, split=split)
        features = make_features(values[: more.get("rows", ROWS)])
        ref = Ref(kind="neighbours", key="0" * 32)
        with store.staging(ref.kind, ref.key) as folder:
            write(folder, values, len(values))
            store.publish(folder, _manifest(ref, folder))
        return {"annotations": annotations.ref, "features": features.ref, "neighbours": ref}

    return make


def _manifest(ref: Ref, folder: Path) -> Any:
    from pipeline.artifacts import Manifest, list_files

    return Manifest(kind=ref.kind, key=ref.key, files=list_files(folder))


def write(folder: Path, values: np.ndarray, count: int) -> None:
    x = np.nan_to_num(values)
    distance = ((x[:, None] - x[None]) ** 2).sum(2) + 1e9 * np.eye(count)
    near = np.argsort(distance, axis=1)[:, :10].astype(np.int32)
    near[np.isnan(values[:, 0])] = -1
    score = np.linspace(0, 1, count).astype(np.float32)
    score[7] = np.nan
    twins = np.full(count, None, dtype=object)
    twins[[8, 130]] = ["s0001", "s0002"]
    found = Neighbours(near, np.zeros((count, 10), np.float16), score, twins)
    write_neighbours(folder, np.array([f"s{i:04d}" for i in range(count)], dtype=object), found)


def run(run_stage: Make, inputs: dict[str, Ref], key: str = "a" * 32, **options: Any) -> Artifact:
    found: Artifact = run_stage(PurifyConfig(**options), produce, inputs, Ref(kind="labels", key=key))
    return found


@pytest.mark.parametrize("method", ["keep", "linear_probe", "trusted_only", "dmlp"])
def test_the_artifact_holds_table_candidates_audit_beliefs_and_summary(
    method: str, inputs: Make, run_stage: Make
) -> None:
    made = run(run_stage, inputs(), method=method, dmlp=DmlpOptions(epochs=3, head_steps=1))
    table = read_labels(made.path("labels.parquet"))
    assert table["sample_id"].to_pylist() == [f"s{i:04d}" for i in range(ROWS)]
    assert table["given_label"][11].as_py() is None
    assert table["given_confidence"][11].as_py() is None
    assert table["outlier_score"][7].as_py() is None
    assert table["neighbour_agreement"][7].as_py() is None
    assert table["duplicate_of"][8].as_py() == "s0001"
    assert set(table["action"].to_pylist()[120:]) == {"none"}
    assert table["purified_name"].to_pylist() == [NAMES[i] for i in table["purified_label"].to_pylist()]
    assert pq.read_table(made.path("candidates.parquet")).column_names == ["sample_id", *BASELINES]
    assert np.load(made.path("beliefs.npy")).shape == (ROWS, 3)
    audit = pq.read_table(made.path("audit.parquet"))
    assert audit.num_rows == 30
    assert audit["fold"].to_numpy().min() >= 1
    summary = json.loads(made.path("summary.json").read_text(encoding="utf-8"))
    assert summary["method"] == method
    assert ("learned" in summary) == (method == "dmlp")
    assert sum(summary["counts"].values()) == ROWS
    assert summary["leaks"]["test_in_train"] == 1
    leaks = pq.read_table(made.path("leaks.parquet"))
    assert ("test_in_train", "s0130", "s0002") in [tuple(row.values()) for row in leaks.to_pylist()]
    assert any("s0130 = s0002" in warning for warning in made.metrics["warnings"])
    assert len(summary["noise"]["transition"]) == 3
    assert summary["features"]["verdict"] == "good"
    assert summary["features"]["pixels"] is None  # these features came without images
    assert list(summary["baselines"]) == list(BASELINES)
    assert read_metadata(made.path("labels.parquet"))["baselines"] == summary["baselines"]
    assert "transition" not in made.metrics["noise"]
    assert made.metrics["gate"] == summary["gate"] == read_metadata(made.path("labels.parquet"))["gate"]


def test_the_same_request_writes_the_same_bytes(inputs: Make, run_stage: Make) -> None:
    refs = inputs()
    first, second = (run(run_stage, refs, key=k * 32, audit_share=0.3) for k in "ab")
    for one, two in zip(first.manifest.files, second.manifest.files, strict=True):
        assert (one.path, one.sha256) == (two.path, two.sha256) or one.path == "labels.parquet"  # its own key differs
    assert read_labels(first.path("labels.parquet")).equals(read_labels(second.path("labels.parquet")))


def test_features_of_other_rows_are_refused(inputs: Make, run_stage: Make) -> None:
    with pytest.raises(ContractError, match=r"features 149 .* 1 ids have no features \(first: 's0149'\)"):
        run(run_stage, inputs(rows=149))


@pytest.mark.parametrize("gone", [False, True])
def test_features_of_images_are_compared_with_raw_pixels(
    store: FileStore, inputs: Make, run_stage: Make, make_images: Make, gone: bool
) -> None:
    """The images lie in the features' lineage; where they are gone, chance is the yardstick."""
    refs, truth = inputs(), np.random.default_rng(0).integers(0, 3, ROWS)
    colours = [np.full((9, 5, 3), (200 - i % 7) * np.eye(3)[kind], np.uint8) for i, kind in enumerate(truth)]
    images, features = make_images(colours), store.get(refs["features"])
    ref = Ref(kind="features", key="1" * 32)
    with store.staging(ref.kind, ref.key) as folder:
        shutil.copytree(features.path("rows.parquet").parent, folder, dirs_exist_ok=True)
        (folder / "manifest.json").unlink()
        record = features.manifest.model_copy(update={"key": ref.key, "inputs": {"images": images.ref}})
        store.publish(folder, record)
    if gone:
        store.remove(f"images/{images.key}")
    made = run(run_stage, refs | {"features": ref})
    judged = made.metrics["features"]
    if gone:
        assert (judged["verdict"], judged["pixels"]) == ("good", None)
    else:
        assert judged["pixels"]["pixels"] == 1.0 > judged["pixels"]["features"]  # one colour a kind
        assert judged["verdict"] == "weak"
        assert any("no better than raw pixels" in warning for warning in made.metrics["warnings"])
