"""What a training leaves: the model, predictions of every row, how good they are, and on wish an ONNX file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn

from pipeline.datasets.annotations import Annotations
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
from stages.retrain.config import RetrainConfig
from stages.retrain.core import Yardstick, measure_by, summary_of
from stages.retrain.figures import by_class, calibration_error, confusion, fit_temperature, tempered
from stages.retrain.material import Material, Rows
from stages.retrain.onnx_file import write_onnx
from stages.retrain.predict import embed, predict, spread_out
from stages.retrain.train import Rivals, Task, noted_as
from stages.shell import Context
from stages.training.state import TrainingState

TRIED = 16  # rows to try an exported model on


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
            if config.embeddings:
                rows = torch.arange(len(material.usable))
                said = replace(said, embedding=embed(rivals.shipped(name), material.batches, rows))
            everything = spread_out(said, material.usable, len(annotations), task.lessons[name].shares(task.classes))
            write_predictions(context.folder, annotations.sample_ids, annotations.split.tolist(), everything, names)
            write_figures(context.folder, material.usable, annotations, said)
    metrics = ModelMetrics(
        **outcomes[shipped].model_dump(), labels=config.labels, given=outcomes["given"] if len(outcomes) > 1 else None,
        targets="soft" if shipped == "purified" and task.lessons[shipped].labels.shape[1] > 1 else "hard",
    )  # fmt: skip
    best = rivals.shipped(shipped)
    network = material.whole(best).cpu().to(memory_format=torch.contiguous_format)
    description = ModelDescription(classes=tuple(names), temperature=temperature, **described(material, best))
    weights = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    write_model(context.folder, description, weights, metrics)
    told = metrics.model_dump(mode="json")
    if config.onnx:
        told |= {"onnx": write_onnx(network, description, sample_of(material), context.folder)}
    return told | ({"warnings": [rivals.unheeded]} if rivals.unheeded else {})


def sample_of(material: Material) -> Tensor:
    """Take a few inputs to try an exported model on."""
    return material.raw.plain(torch.arange(min(len(material.usable), TRIED))).cpu()


def settle(raw: Predictions, validation: Yardstick) -> tuple[float, Predictions]:
    """Fit the temperature on validation rows, where there are any, and apply it."""
    if raw.probs is None:
        return 1.0, raw
    temperature = fit_temperature(raw.probs[validation.rows], validation.labels)
    if temperature == 1.0:
        return 1.0, raw
    probs = tempered(raw.probs, temperature)
    return temperature, Predictions(raw.label, probs.max(axis=1), probs)


def write_figures(folder: Path, usable: Rows, annotations: Annotations, said: Predictions) -> None:
    """Write the confusion matrix and the figures of each class, for all splits that can be scored."""
    parts: dict[str, list[pa.Table]] = {CONFUSION: [], CLASSES: []}
    for split in ("validation", "test"):
        by = measure_by(annotations, split, usable)
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
        test=scored(measure_by(annotations, "test", task.material.usable), *predicted),
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
