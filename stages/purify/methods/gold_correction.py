"""Learn how given labels err from what a classifier of them says of trusted rows (GLC; Hendrycks et al., NeurIPS 2018).

q_i = P(given | x_i) by leave-one-out scores of the given labels; Ĉ[k] = mean of q_i over trusted rows of class k, with
`pseudo_rows` rows of symmetric noise; then p_i = softmax(Σ_m τ_m S_m,i (0.9 Ĉ + 0.1 I)⁻¹) with τ maximising
Σ log Σ_k p_i[k] Ĉ[k, g_i] + Σ_trusted log p_i[y_i]. Trusted rows need no given label of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stages.purify.config import GoldCorrectionOptions
from stages.purify.head import Head, fit_heads
from stages.purify.sample import Views
from stages.purify.scores import Scores
from stages.purify.transition import MOST_CLASSES, Transition


@dataclass(frozen=True)
class GoldCorrection:
    """Scores of the given labels, and what they weigh once corrected."""

    scores: Scores
    heads: Sequence[Head]

    def beliefs(self, rows: Tensor, view: int) -> Tensor:
        """Return log-probabilities [n, K]."""
        return self.heads[view].log_beliefs(self.scores.bare_blocks(rows))


def fit(scores: Scores, views: Views, options: GoldCorrectionOptions) -> GoldCorrection:
    """Estimate Ĉ and correct the scores in every view."""
    said = torch.cat([scores.given_beliefs(part).exp() for part in torch.split(views.rows, 4096)])
    found = [
        confusion(said[known], views.labels[known], scores.sample.classes, options.pseudo_rows) for known in views.known
    ]
    targets = [replace(t, transition=c) for t, c in zip(scores.targets, found, strict=True)]
    blocks = scores.bare_blocks(scores.teachers)
    return GoldCorrection(scores, fit_heads((blocks for _ in targets), scores.teachers, targets))


def confusion(said: Tensor, labels: Tensor, classes: int, pseudo_rows: float) -> Transition:
    """Average what is said about trusted rows [v, K] by their labels [v]; a class without any is symmetric noise."""
    own = said.double().gather(1, labels[:, None]).sum()
    rate = min(max(float((len(labels) - own + 0.5) / (len(labels) + 1)), 1e-4), (classes - 1) / classes)
    counts = torch.zeros(classes, classes, dtype=torch.float64, device=said.device)
    counts = counts.index_add_(0, labels, said.double()) if classes <= MOST_CLASSES else counts[:0, :0]
    strengths = counts.new_tensor([pseudo_rows])
    return Transition(classes, rate, float(len(labels)), counts, strengths, torch.ones_like(strengths))
