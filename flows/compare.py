"""The comparison of methods: the recipe up to the purified labels once, then one model for each cell of a grid."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import ValidationError

from flows.document import CleanRequest
from flows.recipe import RunStage, StageOutcome, prepare
from pipeline.config import describe_faults
from pipeline.errors import ConfigError, DataError
from stages.retrain.config import VERSIONS, RetrainConfig

LABELS = ("given", "purified")


@dataclass(frozen=True)
class Cell:
    """One model to train."""

    method: str
    labels: str
    seed: int

    @property
    def name(self) -> str:
        """Name the cell in the record of a run."""
        return f"retrain {self.method} {self.labels} {self.seed}"


@dataclass(frozen=True)
class Figure:
    """What the model of one cell reached."""

    method: str
    labels: str
    seed: int
    split: str  # test, or validation where there are no test rows
    accuracy: float
    rows: int
    scored_on: str
    ece: float | None
    key: str
    seconds: float  # of its training, whenever that was


@dataclass(frozen=True)
class Line:
    """One row of the table: a method on one kind of labels, over the seeds."""

    method: str
    labels: str
    seeds: int
    mean: float
    spread: float  # standard deviation over the seeds; 0 where there is one
    ece: float | None
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def grid_of(methods: Sequence[str], labels: Sequence[str], seeds: int, first: int) -> list[Cell]:
    """List the cells; refuse names that nobody knows."""
    for kind, asked, known in (("method", methods, tuple(VERSIONS)), ("kind of labels", labels, LABELS)):
        unknown = [name for name in asked if name not in known]
        if unknown or not asked:
            raise ConfigError(f"there is no {kind} '{', '.join(unknown)}'.", f"Choose of: {', '.join(known)}.")
    chosen = [(m, n) for m in dict.fromkeys(methods) for n in dict.fromkeys(labels)]
    return [Cell(m, n, first + seed) for m, n in chosen for seed in range(seeds)]


def config_of(request: CleanRequest, cell: Cell) -> RetrainConfig:
    """Return the retrain section of a cell: the document's, but for what the grid says."""
    fields = {**request.retrain.model_dump(mode="json"), "enabled": True, **asdict(cell)}
    try:
        return RetrainConfig.model_validate(fields)
    except ValidationError as error:
        raise ConfigError(f"retrain does not fit: {describe_faults(error)}.", "Mend the document.") from error


def compare(
    request: CleanRequest, grid: Sequence[Cell], run_stage: RunStage, note: Callable[[StageOutcome], None]
) -> list[Figure]:
    """Purify once, then train every cell; each is noted under its own name, so that its model is kept."""
    prepared = prepare(request, run_stage)
    figures = []
    for cell in grid:
        outcome = run_stage("retrain", config_of(request, cell), prepared.lessons())
        note(replace(outcome, stage=cell.name))
        figures.append(figure_of(cell, outcome))
    return figures


def figure_of(cell: Cell, outcome: StageOutcome) -> Figure:
    """Read what a model reached on test rows, else on validation rows."""
    metrics = outcome.artifact.metrics
    split = next((name for name in ("test", "validation") if metrics.get(name)), "")
    if not split:
        raise DataError(
            "this dataset has neither test nor validation rows, so there is nothing to compare models on.",
            "Give some rows a split (dataset.columns.split, or dataset.splits).",
        )
    score = metrics[split]
    return Figure(
        **asdict(cell), split=split, accuracy=score["accuracy"], rows=score["rows"], scored_on=score["scored_on"],
        ece=score.get("ece"), key=outcome.artifact.key, seconds=float(metrics.get("seconds", 0.0)),
    )  # fmt: skip


def lines_of(figures: Sequence[Figure]) -> list[Line]:
    """Sum the cells up over the seeds, in the order of the grid."""
    lines = []
    for method, labels in dict.fromkeys((f.method, f.labels) for f in figures):
        some = [f for f in figures if (f.method, f.labels) == (method, labels)]
        spread = statistics.stdev(f.accuracy for f in some) if len(some) > 1 else 0.0
        reached, errors = [f.accuracy for f in some], [f.ece for f in some if f.ece is not None]
        lines.append(
            Line(
                method, labels, len(some), statistics.mean(reached), spread,
                statistics.mean(errors) if errors else None, statistics.mean(f.seconds for f in some),
            )
        )  # fmt: skip
    return lines
