"""The model artifact: what is written is what is read, and faults are named."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.artifacts import Artifact, Manifest, list_files
from pipeline.errors import ContractError
from pipeline.models import (
    ModelDescription,
    ModelMetrics,
    Outcome,
    Predictions,
    Score,
    open_model,
    validate_predictions,
    write_model,
    write_predictions,
)
from pipeline.store import FileStore

CLASSES = ["cat", 'do"g', "🐟"]
DESCRIPTION = ModelDescription(input="features", classes=tuple(CLASSES), network={"inputs": 4, "hidden": 0})
METRICS = ModelMetrics(
    labels="both", train_rows=3, epochs=2, shipped_epoch=2,
    test=Score(accuracy=0.5, rows=2, scored_on="trusted"), given=Outcome(train_rows=3, epochs=2, shipped_epoch=1),
)  # fmt: skip
WEIGHTS = {"b": np.arange(6, dtype=np.float32).reshape(2, 3).T, "a": np.array(7, np.int64)}
PROBS = np.array([[0.2, 0.5, 0.3], [0.9, 0.1, 0.0]], np.float32)
SAID = Predictions(PROBS.argmax(1).astype(np.int32), PROBS.max(1), PROBS)


def publish(store: FileStore, write: Callable[[Path], None]) -> Artifact:
    with store.staging("models", "k") as folder:
        write(folder)
        return store.publish(folder, Manifest(kind="models", key="k", files=list_files(folder)))


def write_whole(folder: Path) -> None:
    write_model(folder, DESCRIPTION, WEIGHTS, METRICS)
    write_predictions(folder, ["x", "y"], ["train", "test"], SAID, CLASSES)


def test_a_model_reads_as_it_was_written(tmp_path: Path) -> None:
    model = open_model(publish(FileStore(tmp_path), write_whole))
    assert (model.description, model.metrics, list(model.classes)) == (DESCRIPTION, METRICS, CLASSES)
    weights = model.weights()
    assert weights.keys() == WEIGHTS.keys()
    for name, values in WEIGHTS.items():
        assert weights[name].shape == values.shape
        np.testing.assert_array_equal(weights[name], values)
    rows = model.predictions().to_pylist()
    assert [row["predicted_name"] for row in rows] == ['do"g', "cat"]
    assert [row["split"] for row in rows] == ["train", "test"]
    np.testing.assert_array_equal([row["probs"] for row in rows], PROBS)


def test_the_same_model_makes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_whole(tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_repeated_ids_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="predictions repeat or lack 1 sample ids"):
        write_predictions(tmp_path, ["x", "x"], ["train", "train"], SAID, CLASSES)


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_outside_the_classes_are_refused(label: int) -> None:
    table = pa.table(
        {
            "sample_id": ["x"],
            "split": ["test"],
            "predicted_label": pa.array([label], pa.int32()),
            "confidence": pa.array([0.5], pa.float32()),
        }
    )
    with pytest.raises(ContractError, match=f"hold labels {label} to {label}, but there are 3 classes"):
        validate_predictions(table, 3)
    with pytest.raises(ContractError, match="need a column 'confidence' of type float"):
        validate_predictions(table.drop_columns(["confidence"]), 9)


def test_no_rows_are_no_fault(tmp_path: Path) -> None:
    nothing = Predictions(np.empty(0, np.int32), np.empty(0, np.float32), np.empty((0, 3), np.float32))
    write_predictions(tmp_path, [], [], nothing, CLASSES)
    assert (tmp_path / "predictions.parquet").exists()


def test_a_damaged_description_is_named(tmp_path: Path) -> None:
    def damaged(folder: Path) -> None:
        write_whole(folder)
        (folder / "model.json").write_text('{"input": "sounds"}', encoding="utf-8")

    with pytest.raises(ContractError, match="models/k does not read as a model"):
        open_model(publish(FileStore(tmp_path), damaged))
