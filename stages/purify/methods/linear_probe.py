"""Ridge regression of the given labels on the features, each row scored by the fit without it.

Leave-one-out scores at several penalties and the neighbours' votes, weighed by the forward-corrected softmax:
p_i = softmax(Σ_m τ_m S_m,i (0.9 T + 0.1 I)⁻¹). Without leave-one-out a head memorises the given label, which the
last step would then count twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from stages.linear.design import design
from stages.linear.ridge import Ridge, fit_ridge
from stages.purify.config import LinearProbeOptions
from stages.purify.head import Head, fit_heads
from stages.purify.sample import Sample
from stages.purify.targets import Targets, moments_of

VOTERS = 50


@dataclass(frozen=True)
class LinearProbe:
    """Ridge regressions of every view, and what they weigh."""

    sample: Sample
    ridge: Ridge
    targets: Sequence[Targets]
    weights: Sequence[Tensor]  # [M, d, K] of each view
    heads: list[Head] = field(default_factory=list)

    def blocks(self, rows: Tensor, view: int) -> Tensor:
        """Return the leave-one-out scores at each penalty and the votes [M + 1, n, K]."""
        target, dtype = self.targets[view], self.ridge.mean.dtype
        own, mean = target.rows(rows, dtype), target.mean.to(dtype)
        scores = self.ridge.leave_one_out(rows, self.weights[view], own, mean)
        return torch.cat([scores, target.votes(self.sample.neighbours[rows, :VOTERS], dtype)[None]])

    def beliefs(self, rows: Tensor, view: int) -> Tensor:
        """Return log-probabilities [n, K]."""
        return self.heads[view].log_beliefs(self.blocks(rows, view))


def fit(sample: Sample, targets: Sequence[Targets], options: LinearProbeOptions) -> LinearProbe:
    """Fit every view on one decomposition of the features."""
    rows = design(sample.features, sample.neighbours, sample.ok, options.neighbours)
    ridge = fit_ridge(rows, targets[0].labelled, options.strengths)
    weights = [ridge.weights(moments) for moments in moments_of(ridge, sample, targets)]
    probe = LinearProbe(sample, ridge, targets, weights)
    chosen = targets[0].teachers(sample.draw, (ridge.strengths + 1) * sample.classes)
    blocks = (probe.blocks(chosen, view) for view in range(len(targets)))
    probe.heads.extend(fit_heads(blocks, chosen, targets))
    return probe
