"""A model by a trainer that the operator of the worker defined: it reads rows and inputs, and writes predictions.

The trainer's last argument is the path of task.json, which names rows.parquet (what is to be learned), images.parquet
or features.npy (row i belongs to row i of the rows), and the folder `output` for predictions.parquet and the model.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.datasets.annotations import Annotations, open_annotations
from pipeline.datasets.images import ImageRows, open_images
from pipeline.errors import DataError
from pipeline.features import Features, open_features
from pipeline.labels import LABELS_FILE, read_labels
from pipeline.models import (
    MAX_CLASSES_WITH_PROBS,
    ModelDescription,
    ModelMetrics,
    Outcome,
    Predictions,
    write_description,
    write_predictions,
)
from stages.retrain.config import RetrainConfig
from stages.retrain.core import Lessons, check_lessons, check_same_rows, lessons_of, measure_by
from stages.retrain.material import Rows, some
from stages.retrain.predict import spread_out
from stages.retrain.trainers import find_trainer, run_trainer
from stages.retrain.write import scored, settle, write_figures
from stages.shell import Context

TASK_VERSION = 1
CHUNK = 1024
SAID = "predictions.parquet"
MODEL = "outside"  # folder of the artifact with all that the trainer wrote beside its predictions
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

Inputs = ImageRows | Features


@dataclass(frozen=True)
class Material:
    """What a trainer is given beside its lessons."""

    annotations: Annotations
    inputs: Inputs
    usable: Rows

    @property
    def classes(self) -> list[str]:
        """Return the class names in label order."""
        return self.annotations.class_names


def produce_outside(config: RetrainConfig, context: Context) -> dict[str, Any]:
    """Train on each kind of labels, score what comes back, write the artifact."""
    find_trainer(config.outside.trainer)
    annotations = open_annotations(context.input("annotations"))
    table = read_labels(context.input("labels").path(LABELS_FILE))
    kind = "images" if "images" in context.request.inputs else "features"
    inputs = open_images(context.input(kind)) if kind == "images" else open_features(context.input(kind))
    material = Material(annotations, inputs, some(np.flatnonzero(inputs.ok), len(annotations)))
    check_same_rows(table["sample_id"], inputs.rows["sample_id"])
    lessons = lessons_of(config, table, annotations, material.usable)
    check_lessons(lessons, config)
    outcomes, temperature = {}, 1.0
    for name, taught in reversed(lessons.items()):  # what is shipped comes last
        raw = learn(config, context, name, material, taught)
        temperature, said = settle(raw, measure_by(annotations, "validation", material.usable))
        outcomes[name] = outcome_of(config, material, taught, (raw, said))
    write_rows(context.folder, material, said, taught)
    keep_model(context.request.work_folder / name / "output", context.folder / MODEL)
    given = outcomes["given"] if len(outcomes) > 1 else None
    metrics = ModelMetrics(**outcomes[name].model_dump(), labels=config.labels, given=given)
    network = {"trainer": config.outside.trainer}
    shape = ModelDescription(input=kind, classes=tuple(material.classes), network=network, temperature=temperature)
    write_description(context.folder, shape, metrics)
    return metrics.model_dump(mode="json")


def outcome_of(
    config: RetrainConfig, material: Material, taught: Lessons, predicted: tuple[Predictions, Predictions]
) -> Outcome:
    """Score what a trainer said, before and after its temperature."""
    by = {split: measure_by(material.annotations, split, material.usable) for split in ("test", "validation")}
    scores = {split: scored(measure, *predicted) for split, measure in by.items()}
    rows = int((taught.weights > 0).sum())
    return Outcome(train_rows=rows, epochs=config.epochs, shipped_epoch=config.epochs, **scores)


def write_rows(folder: Path, material: Material, said: Predictions, taught: Lessons) -> None:
    """Write predictions and figures of all rows."""
    annotations, prior = material.annotations, taught.shares(len(material.classes))
    everything = spread_out(said, material.usable, len(annotations), prior)
    write_predictions(folder, annotations.sample_ids, annotations.split.tolist(), everything, material.classes)
    write_figures(folder, material.usable, annotations, said)


def keep_model(output: Path, target: Path) -> None:
    """Keep what a trainer wrote; nothing of it is ever loaded here."""
    shutil.copytree(output, target, ignore=shutil.ignore_patterns(SAID), ignore_dangling_symlinks=True)


def learn(config: RetrainConfig, context: Context, name: str, material: Material, taught: Lessons) -> Predictions:
    """Write the task, run the trainer, read its predictions of the usable rows."""
    folder = context.request.work_folder / name
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier attempt
    (folder / "output").mkdir(parents=True)
    write_task_rows(folder / "rows.parquet", material, taught)
    write_inputs(folder, material, context)
    task = {
        "version": TASK_VERSION, "rows": "rows.parquet", "images": None, "features": None, "output": "output",
        "classes": material.classes, "settings": config.outside.settings, "seed": config.seed,
        "epochs": config.epochs, "batch_size": config.batch_size, "learning_rate": config.learning_rate,
        "device": context.resources.device, "workers": context.workers,
    }  # fmt: skip
    task |= {"images": "images.parquet"} if isinstance(material.inputs, ImageRows) else {"features": "features.npy"}
    (folder / "task.json").write_text(json.dumps(task, indent=1, ensure_ascii=False), encoding="utf-8")
    run_trainer(config.outside.trainer, folder / "task.json", context)
    return read_predictions(folder / "output" / SAID, config.outside.trainer, material)


def write_task_rows(path: Path, material: Material, taught: Lessons) -> None:
    """Write what each usable row teaches: label −1 and weight 0 where it teaches nothing."""
    ids = np.array(material.annotations.sample_ids, dtype=object)[material.usable]
    weights = taught.weights.numpy()
    columns = {
        "sample_id": pa.array(ids, pa.string()),
        "split": pa.array(material.annotations.split[material.usable].tolist(), pa.string()),
        "label": pa.array(np.where(weights > 0, taught.labels[:, 0].numpy(), -1), pa.int32()),
        "weight": pa.array(weights, pa.float32()),
    }
    pq.write_table(pa.table(columns), path, compression="zstd")


def write_inputs(folder: Path, material: Material, context: Context) -> None:
    """Write the inputs of the usable rows in their order, without holding them."""
    inputs, usable = material.inputs, material.usable
    parts = np.split(usable, range(CHUNK, len(usable), CHUNK))
    if isinstance(inputs, Features):
        array = np.lib.format.open_memmap(folder / "features.npy", "w+", inputs.dtype, (len(usable), inputs.dim))
        for number, rows in enumerate(parts):
            array[number * CHUNK : number * CHUNK + len(rows)] = inputs.take(rows)
        array.flush()
        return
    ids = material.annotations.sample_ids
    schema = pa.schema([("sample_id", pa.string()), ("image", IMAGE)])
    with pq.ParquetWriter(folder / "images.parquet", schema, compression="none") as file:
        for rows in parts:
            context.stop.check()
            held = [{"bytes": inputs.read(int(row)), "path": None} for row in rows]
            names = pa.array([ids[row] for row in rows])
            file.write_table(pa.table({"sample_id": names, "image": pa.array(held, IMAGE)}, schema=schema))


def read_predictions(path: Path, trainer: str, material: Material) -> Predictions:
    """Read probabilities of the usable rows by their ids; refuse what does not cover them."""
    remedy = "The trainer must write a row for each row of rows.parquet: sample_id, and probs, a list of " + (
        f"{len(material.classes)} probabilities."
    )
    try:
        table = pq.read_table(path, columns=["sample_id", "probs"])
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"trainer '{trainer}' left no {SAID} that can be read: {error}.", remedy) from error
    ids = pa.array(np.array(material.annotations.sample_ids, dtype=object)[material.usable], pa.string())
    places = pc.index_in(ids, value_set=table["sample_id"].combine_chunks().cast(pa.string()))
    if places.null_count:
        raise DataError(f"trainer '{trainer}' said nothing of {places.null_count} of {len(ids)} rows.", remedy)
    lengths = pc.unique(pc.list_value_length(table["probs"])).to_pylist()
    if lengths != [len(material.classes)]:
        raise DataError(f"trainer '{trainer}' wrote probs with {lengths} numbers.", remedy)
    said = pc.list_flatten(table["probs"]).combine_chunks().cast(pa.float32()).to_numpy(zero_copy_only=False)
    probs = said.reshape(-1, lengths[0])[places.to_numpy()]
    if not np.isfinite(probs).all() or probs.min() < 0 or not np.allclose(probs.sum(axis=1), 1, atol=1e-3):
        raise DataError(f"trainer '{trainer}' wrote probs that are none: each row must sum to 1.", remedy)
    kept = probs if len(material.classes) <= MAX_CLASSES_WITH_PROBS else None
    return Predictions(probs.argmax(axis=1).astype(np.int32), probs.max(axis=1), kept)
