"""Train the model that the user deploys, predict every row, and say how good it is."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from pipeline.artifacts import Artifact
from pipeline.datasets.annotations import Annotations, open_annotations
from pipeline.errors import ContractError, DataError
from pipeline.labels import LABELS_FILE, read_labels
from pipeline.models import ModelDescription, ModelMetrics, Outcome, Predictions, write_model, write_predictions
from stages.networks.classifiers import Ensemble
from stages.networks.devices import pick_device
from stages.retrain.config import RetrainConfig
from stages.retrain.core import Lessons, Mask, Yardstick, given_lessons, purified_lessons, summary_of, yardstick
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
    task = Task(material, lessons, validation, classes, device)
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
    """Refuse to train where no row teaches."""
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
    material = task.material
    outcomes, shipped = {}, next(iter(task.lessons))
    for name in task.lessons:
        said = predict_all(rivals, name, task, context, state)
        outcomes[name] = outcome(name, task, state, annotations, said)
        if name == shipped:
            everything = spread_out(said, material.usable, len(annotations), task.lessons[name].shares(task.classes))
            write_predictions(
                context.folder, annotations.sample_ids, annotations.split.tolist(), everything, annotations.class_names
            )
    metrics = ModelMetrics(
        **outcomes[shipped].model_dump(), labels=config.labels, given=outcomes["given"] if len(outcomes) > 1 else None,
        targets="soft" if shipped == "purified" and task.lessons[shipped].labels.shape[1] > 1 else "hard",
    )  # fmt: skip
    best = rivals.shipped(shipped)
    network = material.whole(best).cpu().to(memory_format=torch.contiguous_format)
    description = ModelDescription(classes=tuple(annotations.class_names), **described(material, best))
    weights = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    write_model(context.folder, description, weights, metrics)
    return metrics.model_dump(mode="json")


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


def outcome(name: str, task: Task, state: TrainingState, annotations: Annotations, said: Predictions) -> Outcome:
    """Score one trained network; every figure that chose an epoch comes from validation rows."""
    test = measure_by(annotations, "test", task.material)
    note = noted_as(name)
    best, last, mean_last_ten = summary_of(state.curve, note)
    values = [entry.get(note) for entry in state.curve]
    return Outcome(
        train_rows=int((task.lessons[name].weights > 0).sum()), epochs=len(state.curve),
        shipped_epoch=len(state.curve) if best is None else values.index(best) + 1,
        test=test.score(said.label[test.rows]), validation=task.validation.score(said.label[task.validation.rows]),
        best=best, last=last, mean_last_ten=mean_last_ten, curve=tuple(state.curve),
    )  # fmt: skip
