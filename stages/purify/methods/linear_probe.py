"""Ridge regression of the given labels on the features, each row scored by the fit without it.

Leave-one-out scores at several penalties and the neighbours' votes, weighed by the forward-corrected softmax:
p_i = softmax(Σ_m τ_m S_m,i (0.9 T + 0.1 I)⁻¹). Without leave-one-out a head memorises the given label, which the
last step would then count twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from stages.purify.head import Head, fit_heads
from stages.purify.scores import Scores


@dataclass(frozen=True)
class LinearProbe:
    """Scores of every view, and what they weigh."""

    scores: Scores
    heads: Sequence[Head]

    def beliefs(self, rows: Tensor, view: int) -> Tensor:
        """Return log-probabilities [n, K]."""
        return self.heads[view].log_beliefs(self.scores.blocks(rows, view))


def fit(scores: Scores) -> LinearProbe:
    """Weigh the scores in every view."""
    blocks = (scores.blocks(scores.teachers, view) for view in range(len(scores.targets)))
    return LinearProbe(scores, fit_heads(blocks, scores.teachers, scores.targets))
