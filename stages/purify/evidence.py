"""What rows say about each other: kernel regressions and neighbours that turn any target into scores.

Two bases, each row alone and each row with the mean of its neighbours, since they err on different rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from stages.linear.design import CHUNK, unit_rows
from stages.linear.folded import Folded, Weights, fit_folded, order_of
from stages.linear.kernel import kernel_features
from stages.purify.config import FusionOptions
from stages.purify.sample import Sample

BASES = 2
BASIS_BYTES = 2_000_000_000  # both bases together
FEWEST = 64  # landmarks, however many rows there are


@dataclass(frozen=True)
class Evidence:
    """The part that no target changes."""

    bases: Sequence[Folded]
    neighbours: Tensor  # [N, k], -1 where there is none or it does not teach

    def of(self, targets: Tensor) -> "Scored":
        """Regress targets [N, K], rows that do not teach aside."""
        return Scored(self, [basis.weights(targets) for basis in self.bases], targets)

    def stored(self, rows: Tensor) -> Tensor:
        """Bring rows [n] into the order in which they are read fastest."""
        return rows[self.bases[0].place[rows].argsort()]


@dataclass(frozen=True)
class Scored:
    """What a target makes of the evidence."""

    evidence: Evidence
    weights: Sequence[Weights]
    targets: Tensor  # [N, K]

    def blocks(self, rows: Tensor) -> Tensor:
        """Return the scores of rows [n], without their own targets: [M, n, K]."""
        bases = zip(self.evidence.bases, self.weights, strict=True)
        return torch.cat([*(basis.scores(rows, found) for basis, found in bases), self._votes(rows)[None]])

    def _votes(self, rows: Tensor) -> Tensor:
        mean = self.weights[0].mean.mean(0)
        parts = []
        for index in torch.split(self.evidence.neighbours[rows].long(), CHUNK):
            there = (index >= 0).to(mean.dtype)
            table = self.targets.to(mean.dtype)
            total = functional.embedding_bag(index.clamp_min(0), table, mode="sum", per_sample_weights=there)
            count = there.sum(1, keepdim=True)
            parts.append(torch.where(count > 0, total / count.clamp_min(1), mean))
        return torch.cat(parts) if parts else mean.new_zeros(0, len(mean))


def gather_evidence(sample: Sample, design: Tensor, taught: Tensor, options: FusionOptions) -> Evidence:
    """Build the bases of taught rows [n]; `design` [N, D] is each row with its neighbours' mean."""
    # Folds look at bits of the draw that its order does not show, so that rows of the lowest draws are of every fold.
    fold = (sample.draw * 2**20).long() % options.folds
    taught = taught[sample.draw[taught].argsort(stable=True)]
    landmarks, stored = choose_landmarks(taught, sample, options.landmarks)
    order = order_of(fold, taught)

    def basis(rows: Tensor) -> Folded:
        features = kernel_features(rows, order, landmarks, stored)
        return fit_folded(features, order, taught, fold, options.strengths)

    alone = basis(unit_rows(sample.features, sample.ok))  # first: its rows are gone before the other one's are there
    bases = [basis(design), alone]
    teaches = torch.zeros_like(sample.ok).index_fill_(0, taught, True)
    neighbours = sample.neighbours[:, : options.neighbours].long()
    neighbours = torch.where((neighbours >= 0) & teaches[neighbours.clamp_min(0)], neighbours, -1)
    return Evidence(bases, neighbours.to(sample.neighbours.dtype))


def choose_landmarks(taught: Tensor, sample: Sample, most: int) -> tuple[Tensor, torch.dtype]:
    """Take the first of taught rows, at most a third, as landmarks; say how their features are stored.

    Single precision is twice as fast to read, half precision lets twice as many rows have all landmarks.
    """
    most = min(most, max(len(taught) // 3, FEWEST), len(taught))
    if sample.features.dtype == torch.float64:
        return taught[:most], torch.float64
    if BASES * len(sample) * most * 4 <= BASIS_BYTES // 2:
        return taught[:most], torch.float32
    return taught[: min(most, max(BASIS_BYTES // (BASES * len(sample) * 2), FEWEST))], torch.float16
