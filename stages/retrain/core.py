"""What rows teach: targets and weights from a label table; and how predictions are scored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from pipeline.datasets.annotations import Annotations
from pipeline.errors import ContractError, DataError
from pipeline.models import Score
from stages.retrain.config import RetrainConfig

MOST_NOISE = 0.95  # what is told of labels that nothing speaks for

Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Lessons:
    """For each row a few classes with their probabilities [N, t], and how much the row counts [N] (0 = not at all)."""

    labels: Tensor
    probs: Tensor
    weights: Tensor
    noise_rate: float = 0.0  # share of them that is wrong, as the label table tells

    def on(self, device: torch.device) -> "Lessons":
        """Bring them to a device."""
        return replace(
            self, labels=self.labels.to(device), probs=self.probs.to(device), weights=self.weights.to(device)
        )

    def take(self, rows: Tensor) -> "Lessons":
        """Take the lessons of some rows."""
        return replace(self, labels=self.labels[rows], probs=self.probs[rows], weights=self.weights[rows])

    def balanced(self, classes: int, strength: float) -> "Lessons":
        """Let rare classes count more: each by its share to the power of −strength, on average 1 a row."""
        if strength == 0:
            return self
        factors = (self.shares(classes) * classes).clamp(min=1e-12).pow(-strength)
        each = (self.probs * factors[self.labels]).sum(dim=1) + (1.0 - self.probs.sum(dim=1)) * factors.mean()
        raised = self.weights * each
        return replace(self, weights=raised * (self.weights.sum() / raised.sum().clamp(min=1e-12)))

    def targets(self, rows: Tensor, classes: int) -> Tensor:
        """Spread some rows over all classes, [n, K]; what the few classes lack goes to all alike."""
        probs = self.probs[rows]
        rest = (1.0 - probs.sum(dim=1, keepdim=True)).clamp(min=0.0) / classes
        return rest.expand(-1, classes).scatter_add(1, self.labels[rows], probs)

    def shares(self, classes: int) -> Tensor:
        """Return how often each class is taught, [K]."""
        firm = torch.zeros(classes).index_add(0, self.labels.flatten(), (self.probs * self.weights[:, None]).flatten())
        return firm / firm.sum().clamp(min=1e-12)


def hard_lessons(labels: Labels, weights: npt.NDArray[np.float32]) -> Lessons:
    """Teach one label a row; rows without one (-1) count nothing."""
    known = labels >= 0
    return Lessons(
        torch.from_numpy(np.where(known, labels, 0).astype(np.int64)[:, None]),
        torch.ones(len(labels), 1),
        torch.from_numpy((weights * known).astype(np.float32)),
    )


def given_lessons(table: pa.Table, usable: Mask) -> Lessons:
    """Teach the given labels as they came."""
    given = np.asarray(table["given_label"].fill_null(-1).to_numpy(), dtype=np.int32)
    lessons = hard_lessons(given, usable.astype(np.float32))
    return replace(lessons, noise_rate=told_noise(table["given_confidence"], lessons))


def told_noise(confidence: pa.ChunkedArray, lessons: Lessons) -> float:
    """Tell which share of the labels of the rows that teach is wrong: 1 − the mean confidence in them."""
    taught = pa.array((lessons.weights > 0).numpy())
    mean = pc.mean(confidence.combine_chunks().filter(taught)).as_py()
    return 0.0 if mean is None else min(max(1.0 - mean, 0.0), MOST_NOISE)


def purified_lessons(table: pa.Table, usable: Mask, config: RetrainConfig, soft: bool) -> Lessons:
    """Teach the purified labels, or the beliefs behind them."""
    purified = np.asarray(table["purified_label"].to_numpy(), dtype=np.int32)
    hard = hard_lessons(purified, usable * row_weights(table, config))
    hard = replace(hard, noise_rate=told_noise(table["confidence"], hard))
    if not soft:
        return hard
    labels, probs = top_classes(table)
    firm = torch.from_numpy(is_action(table, "trusted"))[:, None]
    rest = torch.zeros_like(probs)
    rest[:, 0] = 1.0
    labels = torch.where(firm, hard.labels.expand_as(labels), labels)
    return replace(hard, labels=labels, probs=torch.where(firm, rest, probs))


def row_weights(table: pa.Table, config: RetrainConfig) -> npt.NDArray[np.float32]:
    """Weigh rows by what is to be done with doubtful ones; trusted rows always count in full."""
    confidence = np.asarray(table["confidence"].to_numpy(zero_copy_only=False), dtype=np.float32)
    weights = confidence if config.weigh_by_confidence else np.ones_like(confidence)
    review = is_action(table, "review")
    match config.review_rows:
        case "drop":
            weights = np.where(review, np.float32(0), weights)
        case "downweight":
            weights = np.where(review, confidence, weights)
        case "keep":
            pass
    return np.where(is_action(table, "trusted"), np.float32(1), weights)


def top_classes(table: pa.Table) -> tuple[Tensor, Tensor]:
    """Read the lists of best classes and their probabilities as [N, t] each, filled up with probability 0."""
    lists = [table[name].combine_chunks() for name in ("top_labels", "top_probs")]
    offsets = lists[0].offsets.to_numpy()
    lengths = np.diff(offsets)
    place = np.arange(max(int(lengths.max(initial=1)), 1))[None, :] < lengths[:, None]
    labels = np.zeros(place.shape, np.int64)
    probs = np.zeros(place.shape, np.float32)
    labels[place] = lists[0].flatten().to_numpy()
    probs[place] = lists[1].flatten().to_numpy()
    return torch.from_numpy(labels), torch.from_numpy(probs)


def is_action(table: pa.Table, action: str) -> Mask:
    """Tell which rows have an action."""
    return np.asarray(table["action"].cast(pa.string()).to_numpy(zero_copy_only=False) == action, dtype=bool)


def check_same_rows(labelled: pa.ChunkedArray, usable: pa.ChunkedArray) -> None:
    """Refuse labels of another dataset than the inputs."""
    if not labelled.combine_chunks().equals(usable.combine_chunks()):
        raise ContractError(
            f"the {len(labelled)} rows of the label table are not the {len(usable)} rows of the inputs in their order.",
            "Run the stages of one dataset together, by `puriflow clean`.",
        )


def lessons_of(
    config: RetrainConfig, table: pa.Table, annotations: Annotations, usable: npt.NDArray[np.int64], soft: bool = False
) -> dict[str, Lessons]:
    """Prepare what each kind of labels teaches the usable rows; the kind that is shipped comes first."""
    teaching = np.zeros(len(annotations), dtype=bool)
    teaching[usable] = annotations.split[usable] == "train"
    lessons = {}
    if config.labels != "given":
        lessons["purified"] = purified_lessons(table, teaching, config, soft)
    if config.labels != "purified":
        lessons["given"] = given_lessons(table, teaching)
    rows, classes = torch.from_numpy(usable), len(annotations.class_names)
    return {name: part.take(rows).balanced(classes, config.balance) for name, part in lessons.items()}


def check_lessons(lessons: Mapping[str, Lessons], config: RetrainConfig) -> None:
    """Refuse to train where no row teaches."""
    for name, taught in lessons.items():
        if not bool((taught.weights > 0).any()):
            raise DataError(
                f"none of {len(taught.weights)} rows can teach {name} labels (review_rows: {config.review_rows}).",
                "Keep rows to review (retrain.review_rows: keep), or switch retraining off (retrain.enabled: false).",
            )


@dataclass(frozen=True)
class Yardstick:
    """The rows of one split that can be scored, with the labels to score them by."""

    rows: npt.NDArray[np.int64]
    labels: Labels
    trusted: Mask

    def score(self, predicted: Labels) -> Score | None:
        """Score predictions for these rows; None where there are none."""
        if not len(self.rows):
            return None
        accuracy = float((predicted == self.labels).mean())
        if self.trusted.all():
            return Score(accuracy=accuracy, rows=len(self.rows), scored_on="trusted")
        return Score(accuracy=accuracy, rows=len(self.rows), scored_on="mixed" if self.trusted.any() else "given")


def yardstick(split: Mask, trusted: Labels, given: Labels) -> Yardstick:
    """Score the rows of a split by trusted labels where known, else by given ones."""
    labels = np.where(trusted >= 0, trusted, given)
    rows = np.flatnonzero(split & (labels >= 0))
    return Yardstick(rows, labels[rows], trusted[rows] >= 0)


def measure_by(annotations: Annotations, split: str, rows: npt.NDArray[np.int64]) -> Yardstick:
    """Make the yardstick of a split over the usable rows."""
    return yardstick(annotations.split[rows] == split, annotations.trusted[rows], annotations.given[rows])


def summary_of(curve: Sequence[Mapping[str, Any]], name: str) -> tuple[float | None, float | None, float | None]:
    """Take best, last and mean of the last ten epochs from a training's notes."""
    values = [float(entry[name]) for entry in curve if name in entry]
    if not values:
        return None, None, None
    return max(values), values[-1], sum(values[-10:]) / len(values[-10:])
