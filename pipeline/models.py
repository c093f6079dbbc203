"""The model artifact: weights, how to rebuild the network, predictions for every row, figures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, ValidationError
from safetensors.numpy import load_file, save_file

from pipeline.artifacts import Artifact
from pipeline.config import Config
from pipeline.errors import ContractError

SCHEMA_VERSION = 1
WEIGHTS = "model.safetensors"
DESCRIPTION = "model.json"
PREDICTIONS = "predictions.parquet"
METRICS = "metrics.json"
CONFUSION = "confusion.parquet"  # which class was taken for which how often, of the splits that can be scored
CLASSES = "classes.parquet"  # precision, recall and F1 of each class, of the same splits
MAX_CLASSES_WITH_PROBS = 100

FloatArray = np.ndarray[Any, np.dtype[np.float32]]


class ModelDescription(Config):
    """What rebuilds a model from its weights: the network, what it is fed with, and the names of its outputs."""

    schema_version: int = SCHEMA_VERSION
    input: Literal["images", "features"]
    classes: tuple[str, ...]
    network: dict[str, Any]
    preprocessing: dict[str, Any] = Field(default_factory=dict)
    temperature: float = Field(1.0, gt=0)  # probabilities are softmax(scores / temperature)


class Score(Config):
    """How often a model was right, on how many rows, by whose labels that was judged, and how well it knew.

    `ece`: the expected calibration error in 15 bins; `ece_untempered`: the same before the temperature.
    """

    accuracy: float
    rows: int
    scored_on: Literal["trusted", "given", "mixed"]
    ece: float | None = None
    ece_untempered: float | None = None


class Outcome(Config):
    """The figures of one training: of the model as shipped, and of its epochs on validation rows."""

    train_rows: int
    epochs: int
    shipped_epoch: int
    test: Score | None = None
    validation: Score | None = None
    best: float | None = None
    last: float | None = None
    mean_last_ten: float | None = None
    curve: tuple[dict[str, float], ...] = ()


class ModelMetrics(Outcome):
    """The figures of the shipped model; where both kinds of labels were tried, the other's beside them."""

    labels: Literal["purified", "given", "both"]
    targets: Literal["hard", "soft"] = "hard"
    given: Outcome | None = None


@dataclass(frozen=True)
class Model:
    """A published model, read lazily."""

    artifact: Artifact
    description: ModelDescription
    metrics: ModelMetrics

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the class names in label order."""
        return self.description.classes

    def weights(self) -> dict[str, np.ndarray[Any, Any]]:
        """Read all tensors by name."""
        return dict(load_file(self.artifact.path(WEIGHTS)))

    def predictions(self) -> pa.Table:
        """Read the predictions, one row per sample in dataset order."""
        table = pq.read_table(self.artifact.path(PREDICTIONS))
        validate_predictions(table, len(self.classes))
        return table


def open_model(artifact: Artifact) -> Model:
    """Read the small parts of a model artifact."""
    try:
        description = ModelDescription.model_validate_json(artifact.path(DESCRIPTION).read_bytes())
        metrics = ModelMetrics.model_validate_json(artifact.path(METRICS).read_bytes())
    except ValidationError as error:
        raise ContractError(f"{artifact.ref} does not read as a model: {error}", "Run retrain again.") from error
    return Model(artifact, description, metrics)


def write_model(
    folder: Path, description: ModelDescription, weights: Mapping[str, np.ndarray[Any, Any]], metrics: ModelMetrics
) -> None:
    """Write everything of a model but its predictions."""
    save_file({name: np.asarray(weights[name], order="C") for name in sorted(weights)}, folder / WEIGHTS)
    write_description(folder, description, metrics)


def write_description(folder: Path, description: ModelDescription, metrics: ModelMetrics) -> None:
    """Write what a model is and what it reached."""
    for name, part in ((DESCRIPTION, description), (METRICS, metrics)):
        text = json.dumps(part.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
        (folder / name).write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class Predictions:
    """What a model says of every row: best class [N], its probability [N], all probabilities [N, K] (few classes).

    `embedding` [N, d], on wish: what its last layer sees; NaN for rows that it could not see.
    """

    label: np.ndarray[Any, np.dtype[np.int32]]
    confidence: FloatArray
    probs: FloatArray | None
    embedding: FloatArray | None = None


def write_predictions(
    folder: Path, sample_ids: Sequence[str], split: Sequence[str], said: Predictions, classes: Sequence[str]
) -> None:
    """Write the predictions table, one row per sample in dataset order."""
    columns = {
        "sample_id": pa.array(sample_ids, pa.string()),
        "split": pa.array(split, pa.string()),
        "predicted_label": pa.array(said.label, pa.int32()),
        "predicted_name": pa.DictionaryArray.from_arrays(
            pa.array(said.label, pa.int32()), pa.array(classes, pa.string())
        ),
        "confidence": pa.array(said.confidence, pa.float32()),
    }
    if said.probs is not None and len(classes) <= MAX_CLASSES_WITH_PROBS:
        columns["probs"] = probs_column(said.probs)
    if said.embedding is not None:
        columns["embedding"] = embedding_column(said.embedding)
    table = pa.table(columns, metadata={"puriflow.schema_version": str(SCHEMA_VERSION)})
    validate_predictions(table, len(classes))
    pq.write_table(table, folder / PREDICTIONS, compression="zstd", row_group_size=131_072)


def probs_column(probs: FloatArray) -> pa.ListArray:
    """Store [N, K] probabilities as one list a row."""
    offsets = np.arange(len(probs) + 1, dtype=np.int32) * probs.shape[1]
    return pa.ListArray.from_arrays(offsets, np.ascontiguousarray(probs, dtype=np.float32).reshape(-1))


def embedding_column(rows: FloatArray) -> pa.FixedSizeListArray:
    """Store [N, d] numbers as one list a row, null where there are none."""
    values = pa.array(np.ascontiguousarray(rows, dtype=np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(values, rows.shape[1], mask=pa.array(np.isnan(rows[:, 0])))


def validate_predictions(table: pa.Table, classes: int) -> None:
    """Check that a predictions table keeps its contract."""
    expected = {
        "sample_id": pa.string(),
        "split": pa.string(),
        "predicted_label": pa.int32(),
        "confidence": pa.float32(),
    }
    for name, kind in expected.items():
        if name not in table.column_names or table.schema.field(name).type != kind:
            raise ContractError(f"predictions need a column '{name}' of type {kind}.", "Run retrain again.")
    ids = table["sample_id"]
    repeated = table.num_rows - len(ids.unique())
    if repeated or ids.null_count:
        raise ContractError(
            f"predictions repeat or lack {repeated or ids.null_count} sample ids.", "Run retrain again."
        )
    label = table["predicted_label"].to_numpy()
    if len(label) and not (label.min() >= 0 and label.max() < classes):
        raise ContractError(
            f"predictions hold labels {label.min()} to {label.max()}, but there are {classes} classes.",
            "Run retrain again.",
        )
