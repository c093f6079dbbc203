"""Train one network on each kind of labels, side by side on the same batches, and keep the best epoch of each."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import assert_never

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pipeline.models import MAX_CLASSES_WITH_PROBS, Predictions
from stages.networks.devices import mixed_precision
from stages.retrain.config import RetrainConfig
from stages.retrain.core import Lessons, Yardstick
from stages.retrain.material import Batches, Material
from stages.retrain.methods import cross_entropy
from stages.shell import Context
from stages.training.loop import Loop, Watch
from stages.training.optimisers import build_optimiser
from stages.training.schedule import Plan
from stages.training.state import TrainingState

WARMUP = 0.05
CHUNK = 1024

Teach = Callable[[Tensor, torch.Generator], Tensor]


class Rivals(nn.Module):
    """Networks that start alike and learn from different labels; where validation rows choose, their best epochs."""

    def __init__(self, network: nn.Module, names: list[str], chosen: bool) -> None:
        super().__init__()
        self.live = nn.ModuleDict({name: copy.deepcopy(network) for name in names})
        self.kept = nn.ModuleDict({name: copy.deepcopy(network) for name in names} if chosen else {})
        self.kept.requires_grad_(requires_grad=False)

    def shipped(self, name: str) -> nn.Module:
        """Return the network to ship."""
        return self.kept[name] if name in self.kept else self.live[name]

    def keep(self, name: str) -> None:
        """Remember a network as it is now."""
        self.kept[name].load_state_dict(self.live[name].state_dict())


@dataclass(frozen=True)
class Task:
    """What a training is given: inputs, lessons by kind of labels over the usable rows, and validation rows."""

    material: Material
    lessons: Mapping[str, Lessons]
    validation: Yardstick  # its rows are numbered among the usable ones
    classes: int
    device: torch.device

    def train_rows(self) -> Tensor:
        """List the rows that teach anything."""
        counts = torch.stack([lessons.weights for lessons in self.lessons.values()])
        return (counts > 0).any(dim=0).nonzero().flatten()


def train(task: Task, config: RetrainConfig, context: Context) -> tuple[Rivals, TrainingState]:
    """Train to the end, or stop with a checkpoint."""
    chosen = len(task.validation.rows) > 0
    rivals = Rivals(task.material.network, list(task.lessons), chosen)
    rivals.to(task.device).to(memory_format=torch.channels_last)
    optimiser = build_optimiser(rivals, "adamw", config.learning_rate, config.weight_decay)
    state = TrainingState(rivals, optimiser)
    rows = task.train_rows()
    plan = Plan(len(rows), config.batch_size, config.epochs, config.seed, WARMUP)
    match config.method:
        case "cross_entropy":
            teach = cross_entropy_loss(task, config, rivals, rows)
        case _:
            assert_never(config.method)

    def after_epoch(_epoch: int) -> dict[str, float]:
        return choose(rivals, task, state) if chosen else {}

    Loop(context, plan, config.learning_rate, task.device).run(state, teach, Watch(after_epoch))
    return rivals, state


def cross_entropy_loss(task: Task, config: RetrainConfig, rivals: Rivals, train_rows: Tensor) -> Teach:
    """Add up the losses of all rivals on one batch; they share inputs and mixing, but no weights."""
    options, batches = config.cross_entropy, task.material.batches

    def teach(chosen: Tensor, generator: torch.Generator) -> Tensor:
        rows = train_rows[chosen]
        inputs = batches.varied(rows, generator)
        mixing = cross_entropy.draw_mixing(len(rows), options.mixup, generator)
        inputs = mixing.mix(inputs) if mixing else inputs
        total = torch.zeros((), device=task.device)
        for name, lessons in task.lessons.items():
            targets = lessons.targets(rows, task.classes).to(task.device)
            weights = lessons.weights[rows].to(task.device)
            if mixing:
                targets, weights = mixing.mix(targets), mixing.mix(weights)
            with mixed_precision(task.device, config.precision == "mixed"):
                scores = rivals.live[name](inputs)
            total = total + cross_entropy.loss(scores, targets, weights, options.label_smoothing)
        return total

    return teach


def choose(rivals: Rivals, task: Task, state: TrainingState) -> dict[str, float]:
    """Score every rival on the validation rows, and keep those that were never better."""
    noted = {}
    rows = torch.from_numpy(task.validation.rows)
    for name, network in rivals.live.items():
        predicted = predict(network, task.material.batches, rows, task.classes).label
        accuracy = float((predicted == task.validation.labels).mean())
        if accuracy > max((entry[noted_as(name)] for entry in state.curve), default=-1.0):
            rivals.keep(name)
        noted[noted_as(name)] = accuracy
    return noted


def noted_as(name: str) -> str:
    """Name the validation accuracy of one rival in the curve."""
    return f"validation_{name}"


def predict(
    network: nn.Module,
    batches: Batches,
    rows: Tensor,
    classes: int,
    after_chunk: Callable[[int], None] = lambda _: None,
) -> Predictions:
    """Predict some rows in full precision; all probabilities are kept where there are few classes."""
    label = np.zeros(len(rows), np.int32)
    confidence = np.zeros(len(rows), np.float32)
    probs = np.zeros((len(rows), classes), np.float32) if classes <= MAX_CLASSES_WITH_PROBS else None
    network.eval()
    with torch.inference_mode():
        for start in range(0, len(rows), CHUNK):
            part = slice(start, start + CHUNK)
            said = torch.softmax(network(batches.plain(rows[part])).float(), dim=1).cpu()
            best = said.max(dim=1)
            label[part], confidence[part] = best.indices.numpy(), best.values.numpy()
            if probs is not None:
                probs[part] = said.numpy()
            after_chunk(min(start + CHUNK, len(rows)))
    return Predictions(label, confidence, probs)


def spread_out(said: Predictions, usable: npt.NDArray[np.int64], count: int, prior: Tensor) -> Predictions:
    """Lay the predictions of usable rows out over all rows; for the others only the class shares speak."""
    shares = prior.numpy().astype(np.float32)
    label = np.full(count, shares.argmax(), np.int32)
    confidence = np.full(count, shares.max(initial=0), np.float32)
    label[usable], confidence[usable] = said.label, said.confidence
    if said.probs is None:
        return Predictions(label, confidence, None)
    probs = np.tile(shares, (count, 1))
    probs[usable] = said.probs
    return Predictions(label, confidence, probs)
