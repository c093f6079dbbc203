"""Let the nearest neighbours vote (Bahri et al., ICML 2020; CIKNN and its kin).

p_i = softmax(τ v_i (0.9 T + 0.1 I)⁻¹), v_i[c] = share of label c among the k nearest rows, the row itself left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from stages.linear.design import working_dtype
from stages.purify.config import KnnOptions
from stages.purify.head import Head, fit_heads
from stages.purify.sample import Sample
from stages.purify.targets import Targets


@dataclass(frozen=True)
class Knn:
    """Votes, and what they weigh."""

    sample: Sample
    targets: Sequence[Targets]
    heads: Sequence[Head]
    neighbours: int

    def beliefs(self, rows: Tensor, view: int) -> Tensor:
        """Return log-probabilities [n, K]."""
        return self.heads[view].log_beliefs(votes(self.sample, self.targets[view], rows, self.neighbours)[None])


def votes(sample: Sample, targets: Targets, rows: Tensor, neighbours: int) -> Tensor:
    """Return the votes for some rows [n, K]."""
    return targets.votes(sample.neighbours[rows, :neighbours], working_dtype(sample.features))


def fit(sample: Sample, targets: Sequence[Targets], options: KnnOptions) -> Knn:
    """Weigh the votes in every view."""
    rows = targets[0].teachers(sample.draw, sample.classes)
    blocks = (votes(sample, target, rows, options.neighbours)[None] for target in targets)
    return Knn(sample, targets, fit_heads(blocks, rows, targets), options.neighbours)
