"""Leave-one-out scores that several methods share: one decomposition of the features, one pass over the rows.

Blocks are the ridge scores at each penalty and the neighbours' votes. Those of a view know its trusted rows; the bare
ones know given labels only, so they are the same whoever judges.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from stages.linear.design import design
from stages.linear.ridge import Ridge, fit_ridge
from stages.purify.config import LinearProbeOptions
from stages.purify.head import Head, fit_head
from stages.purify.sample import Sample
from stages.purify.targets import Targets, bare_targets, moments_of

VOTERS = 50


@dataclass(frozen=True)
class Scores:
    """Ridge regressions of every view's targets and of the given labels alone."""

    sample: Sample
    ridge: Ridge
    targets: Sequence[Targets]  # of each view
    bare: Targets
    weights: Sequence[Tensor]  # [M, d, K] of each view
    bare_weights: Tensor  # [M, d, K]
    latest: list[Tensor] = field(default_factory=list)  # the rows that were asked last, and their bare blocks

    def blocks(self, rows: Tensor, view: int) -> Tensor:
        """Return the scores of rows [n] in a view [M + 1, n, K]."""
        return self._blocks(rows, self.targets[view], self.weights[view])

    def bare_blocks(self, rows: Tensor) -> Tensor:
        """Return the scores of rows [n] that know given labels only [M + 1, n, K]; asked twice, computed once."""
        if not self.latest or self.latest[0] is not rows:
            self.latest[:] = [rows, self._blocks(rows, self.bare, self.bare_weights)]
        return self.latest[1]

    @cached_property
    def teachers(self) -> Tensor:
        """Choose rows [n] for fitting a handful of numbers."""
        return self.targets[0].teachers(self.sample.draw, (self.ridge.strengths + 1) * self.sample.classes)

    @cached_property
    def given_head(self) -> Head:
        """Weigh the bare blocks so that their softmax is the probability of the given label."""
        rows = self.bare.teachers(self.sample.draw, (self.ridge.strengths + 1) * self.sample.classes)
        labels = (self.bare.given[rows], self.bare.trusted[rows])
        return fit_head(self.bare_blocks(rows), labels, self.bare.transition, self.bare.offset)

    def given_beliefs(self, rows: Tensor) -> Tensor:
        """Return the log-probability of each class as the given label of rows [n, K], made without their own."""
        return self.given_head.log_beliefs(self.bare_blocks(rows))

    def _blocks(self, rows: Tensor, target: Targets, weights: Tensor) -> Tensor:
        dtype = self.ridge.mean.dtype
        scores = self.ridge.leave_one_out(rows, weights, target.rows(rows, dtype), target.mean.to(dtype))
        return torch.cat([scores, target.votes(self.sample.neighbours[rows, :VOTERS], dtype)[None]])


def fit_scores(sample: Sample, targets: Sequence[Targets], options: LinearProbeOptions) -> Scores:
    """Fit every view, and the given labels alone, on one decomposition of the features."""
    rows = design(sample.features, sample.neighbours, sample.ok, options.neighbours)
    ridge, bare = fit_ridge(rows, targets[0].labelled, options.strengths), bare_targets(sample)
    *weights, last = (ridge.weights(moments) for moments in moments_of(ridge, sample, [*targets, bare]))
    return Scores(sample, ridge, targets, bare, weights, last)
