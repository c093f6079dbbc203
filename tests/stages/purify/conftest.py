"""Blobs with noisy labels and a few trusted rows."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.noise import inject
from stages.purify.audit import hash_draw
from stages.purify.sample import Sample
from stages.purify.views import Trust


@dataclass(frozen=True)
class Problem:
    sample: Sample
    trust: Trust
    truth: Tensor

    @property
    def others(self) -> Tensor:
        """Mark the rows whose label nobody told."""
        return (self.trust.labels < 0) & self.sample.train

    def right(self, labels: Tensor) -> float:
        return float((labels == self.truth)[self.others].double().mean())

    def changed(self, **fields: object) -> "Problem":
        return replace(self, sample=replace(self.sample, **fields))  # type: ignore[arg-type]

    def taken(self, order: Tensor) -> "Problem":
        """Bring the rows into another order."""
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order))
        s, t = self.sample, self.trust
        neighbours = torch.where(s.neighbours >= 0, place[s.neighbours.clamp_min(0)], -1)[order]
        sample = Sample(
            s.features[order], neighbours, s.given[order], s.ok[order], s.train[order], s.draw[order], s.classes,
            None if s.annotators is None else s.annotators[order],
        )  # fmt: skip
        groups = [t.groups[i] for i in order.tolist()]
        trust = Trust(t.labels[order], t.picked[order], t.weights[order], groups)
        return Problem(sample, trust, self.truth[order])


MakeProblem = Callable[..., Problem]


def nearest(features: Tensor, count: int) -> Tensor:
    unit = torch.nn.functional.normalize(features - features.mean(0), dim=1)
    similarity = unit @ unit.T
    similarity.fill_diagonal_(-2)
    return similarity.topk(min(count, len(features) - 1), dim=1).indices


@pytest.fixture
def problem() -> MakeProblem:
    def make(
        rows: int = 400, classes: int = 4, rate: float = 0.3, trusted: int = 60, spread: float = 0.6,
        kind: str = "symmetric", useless: bool = False, seed: int = 0,
        shares: tuple[float, ...] = (), per_class: int = 0,
    ) -> Problem:  # fmt: skip
        """Make rows of classes with equal or given shares; `per_class` trusted rows of each class, or a random draw."""
        generator = torch.Generator().manual_seed(seed)
        truth = torch.randint(0, classes, (rows,), generator=generator)
        if shares:
            truth = torch.multinomial(torch.tensor(shares), rows, replacement=True, generator=generator)
        centres = torch.randn(classes, 8, generator=generator, dtype=torch.float64)
        features = centres[truth] + spread * torch.randn(rows, 8, generator=generator, dtype=torch.float64)
        if useless:
            features = features[torch.randperm(rows, generator=generator)]
        given = torch.from_numpy(inject(truth.numpy(), kind, rate, classes, seed)) if rate else truth.clone()  # type: ignore[arg-type]
        labels = torch.full((rows,), -1)
        chosen = torch.randperm(rows, generator=generator)
        chosen = torch.cat(
            [chosen[truth[chosen] == c][:per_class] for c in range(classes)] if per_class else [chosen[:trusted]]
        )
        labels[chosen] = truth[chosen]
        every, ids = torch.ones(rows, dtype=torch.bool), [f"s{i:04d}" for i in range(rows)]
        sample = Sample(features, nearest(features, 20), given, every, every, hash_draw(0, "rows", ids), classes)
        return Problem(sample, Trust(labels, ~every, torch.ones(rows, dtype=torch.float64), ids), truth)

    return make


@pytest.fixture
def settled() -> Callable[[object], np.ndarray]:
    """Put everything that was decided about the rows into one array."""

    def flatten(rows: object) -> np.ndarray:
        fields = [v.double().reshape(len(v), -1) for v in vars(rows).values()]
        return torch.nan_to_num(torch.cat(fields, dim=1), nan=-1.0).numpy()

    return flatten
