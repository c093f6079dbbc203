"""Train the model that the user deploys, predict every row, and say how good it is."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn

from pipeline.artifacts import Artifact
from pipeline.datasets.annotations import Annotations, open_annotations
from pipeline.errors import ContractError, DataError
from pipeline.labels import LABELS_FILE, read_labels
from pipeline.models import (
    CLASSES,
    CONFUSION,
    ModelDescription,
    ModelMetrics,
    Outcome,
    Predictions,
    Score,
    write_model,
    write_predictions,
)
from stages.networks.classifiers import Ensemble
from stages.networks.devices import pick_device
from stages.retrain.config import TRUSTING, RetrainConfig
from stages.retrain.core import (
    Lessons,
    Mask,
    Yardstick,
    given_lessons,
    is_action,
    purified_lessons,
    summary_of,
    yardstick,
)
from stages.retrain.figures import by_class, calibration_error, confusion, fit_temperature, tempered
from stages.retrain.material import Material, open_material
from stages.retrain.predict import predict, spread_out
from stages.retrain.train import Rivals, Task, noted_as, train
from stages.shell import Context
from stages.training.state import TrainingState

SUMMARY_FILE = "summary.json"


def produce(config: RetrainConfig, context: Context) -> dict[str, Any]:
    """Read labels and inputs, train, choose, predict, write the artifact."""
    torch.set_num_threads(context.workers)
    device = pick_device(context.resources.device)
    annotations = open_annotations(context.input("annotations"))
    labels = context.input("labels")
    table = read_labels(labels.path(LABELS_FILE))
    classes = len(annotations.class_names)
    material = open_material(config, context, classes, device)
    check_same_rows(table["sample_id"], material.sample_ids)
    soft = config.method == "cross_entropy" and config.cross_entropy.soft and gate_open(labels)
    lessons = all_lessons(config, table, usable_for_training(annotations, material), soft)
    validation = measure_by(annotations, "validation", material)
    rows = torch.from_numpy(material.usable)
    lessons = {name: part.take(rows).balanced(classes, config.balance) for name, part in lessons.items()}
    task = Task(material, lessons, validation, trusted_rows(table, material), classes, device)
    check_teaching(task, config)
    rivals, state = train(task, config, context)
    return write(task, config, context, (rivals, state), annotations)


def check_same_rows(labelled: pa.ChunkedArray, usable: pa.ChunkedArray) -> None:
    """Refuse labels of another dataset than the inputs."""
    if not labelled.combine_chunks().equals(usable.combine_chunks()):
        raise ContractError(
            f"the {len(labelled)} rows of the label table are not the {len(usable)} rows of the inputs in their order.",
            "Run the stages of one dataset together, by `puriflow clean`.",
        )


def gate_open(labels: Artifact) -> bool:
    """Tell whether the beliefs were let through; behind a closed gate they teach nothing."""
    summary = json.loads(labels.path(SUMMARY_FILE).read_text(encoding="utf-8"))
    return bool((summary.get("gate") or {}).get("open"))


def usable_for_training(annotations: Annotations, material: Material) -> Mask:
    """Mark the train rows that have readable inputs."""
    usable = np.zeros(len(annotations), dtype=bool)
    usable[material.usable] = annotations.split[material.usable] == "train"
    return usable


def trusted_rows(table: pa.Table, material: Material) -> tuple[Tensor, Tensor]:
    """List the trusted rows that teach, audited ones left out, and their labels; numbered as the material does."""
    teaches = torch.from_numpy(is_action(table, "trusted")[material.usable])
    labels = np.asarray(table["purified_label"].to_numpy(), dtype=np.int64)[material.usable]
    return teaches.nonzero().flatten(), torch.from_numpy(labels)[teaches]


def all_lessons(config: RetrainConfig, table: pa.Table, usable: Mask, soft: bool) -> dict[str, Lessons]:
    """Prepare what each kind of labels teaches; the kind that is shipped comes first."""
    lessons = {}
    if config.labels != "given":
        lessons["purified"] = purified_lessons(table, usable, config, soft)
    if config.labels != "purified":
        lessons["given"] = given_lessons(table, usable)
    return lessons


def measure_by(annotations: Annotations, split: str, material: Material) -> Yardstick:
    """Make the yardstick of a split over the usable rows."""
    rows = material.usable
    return yardstick(annotations.split[rows] == split, annotations.trusted[rows], annotations.given[rows])


def check_teaching(task: Task, config: RetrainConfig) -> None:
    """Refuse to train where no row teaches, or none judges."""
    if config.method in TRUSTING and not len(task.trusted[0]):
        raise DataError(
            f"retrain.method {config.method} learns from trusted rows, but this dataset has none that is usable.",
            "Mark rows as trusted (dataset.trusted), or choose another method, such as elr.",
        )
    for name, lessons in task.lessons.items():
        if not bool((lessons.weights > 0).any()):
            raise DataError(
                f"none of {len(lessons.weights)} rows can teach {name} labels (review_rows: {config.review_rows}).",
                "Keep rows to review (retrain.review_rows: keep), or switch retraining off (retrain.enabled: false).",
            )


def write(
    task: Task, config: RetrainConfig, context: Context, trained: tuple[Rivals, TrainingState], annotations: Annotations
) -> dict[str, Any]:
    """Predict with what was trained, score it, write all files."""
    rivals, state = trained
    material, names = task.material, annotations.class_names
    outcomes, shipped, temperature = {}, next(iter(task.lessons)), 1.0
    for name in task.lessons:
        raw = predict_all(rivals, name, task, context, state)
        heat, said = settle(raw, task.validation)
        outcomes[name] = outcome(name, task, state, annotations, (raw, said))
        if name == shipped:
            temperature = heat
            everything = spread_out(said, material.usable, len(annotations), task.lessons[name].shares(task.classes))
            write_predictions(context.folder, annotations.sample_ids, annotations.split.tolist(), everything, names)
            write_figures(context.folder, task, annotations, said)
    metrics = ModelMetrics(
        **outcomes[shipped].model_dump(), labels=config.labels, given=outcomes["given"] if len(outcomes) > 1 else None,
        targets="soft" if shipped == "purified" and task.lessons[shipped].labels.shape[1] > 1 else "hard",
    )  # fmt: skip
    best = rivals.shipped(shipped)
    network = material.whole(best).cpu().to(memory_format=torch.contiguous_format)
    description = ModelDescription(classes=tuple(names), temperature=temperature, **described(material, best))
    weights = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    write_model(context.folder, description, weights, metrics)
    return metrics.model_dump(mode="json")


def settle(raw: Predictions, validation: Yardstick) -> tuple[float, Predictions]:
    """Fit the temperature on validation rows, where there are any, and apply it."""
    if raw.probs is None:
        return 1.0, raw
    temperature = fit_temperature(raw.probs[validation.rows], validation.labels)
    if temperature == 1.0:
        return 1.0, raw
    probs = tempered(raw.probs, temperature)
    return temperature, Predictions(raw.label, probs.max(axis=1), probs)


def write_figures(folder: Path, task: Task, annotations: Annotations, said: Predictions) -> None:
    """Write the confusion matrix and the figures of each class, for all splits that can be scored."""
    parts: dict[str, list[pa.Table]] = {CONFUSION: [], CLASSES: []}
    for split in ("validation", "test"):
        by = measure_by(annotations, split, task.material)
        if len(by.rows):
            for file, measured in ((CONFUSION, confusion), (CLASSES, by_class)):
                table = measured(by.labels, said.label[by.rows], annotations.class_names)
                parts[file].append(table.add_column(0, "split", pa.array([split] * table.num_rows)))
    for file, tables in parts.items():
        if tables:
            pq.write_table(pa.concat_tables(tables), folder / file, compression="zstd")


def described(material: Material, network: nn.Module) -> dict[str, Any]:
    """Say what the network is, and how many it averages."""
    if not isinstance(network, Ensemble):
        return material.description
    shape = {**material.description["network"], "members": len(network.members)}
    return {**material.description, "network": shape}


def predict_all(rivals: Rivals, name: str, task: Task, context: Context, state: TrainingState) -> Predictions:
    """Predict every usable row; a stop keeps what was trained."""

    def after_chunk(done: int) -> None:
        context.progress.report(f"predict ({name})", done, len(task.material.usable), "rows")
        if context.stop.requested:
            context.checkpoints.save(state.step, state.save)
            raise context.stop.interrupted()

    rows = torch.arange(len(task.material.usable))
    return predict(rivals.shipped(name), task.material.batches, rows, task.classes, after_chunk)


def outcome(
    name: str, task: Task, state: TrainingState, annotations: Annotations, predicted: tuple[Predictions, Predictions]
) -> Outcome:
    """Score one trained network, before and after its temperature; figures that chose an epoch are of validation rows.

    Nothing here comes from test rows but `test`.
    """
    note = noted_as(name)
    best, last, mean_last_ten = summary_of(state.curve, note)
    values = [entry.get(note) for entry in state.curve]
    return Outcome(
        train_rows=int((task.lessons[name].weights > 0).sum()), epochs=len(state.curve),
        shipped_epoch=len(state.curve) if best is None else values.index(best) + 1,
        test=scored(measure_by(annotations, "test", task.material), *predicted),
        validation=scored(task.validation, *predicted),
        best=best, last=last, mean_last_ten=mean_last_ten, curve=tuple(state.curve),
    )  # fmt: skip


def scored(by: Yardstick, raw: Predictions, said: Predictions) -> Score | None:
    """Score predictions, and how well the model knew, before and after its temperature."""
    score = by.score(said.label[by.rows])
    if score is None:
        return None
    right = said.label[by.rows] == by.labels
    before, after = (calibration_error(some.confidence[by.rows], right) for some in (raw, said))
    return score.model_copy(update={"ece": after, "ece_untempered": before})
