"""Mix a method's belief with that of the trusted rows alone: log p ← a log p + d log q, d ≥ 0.

Where given labels say little, or nothing of a class, a few trusted rows know better. (a, d) are a conditional logit on
trusted rows, T's evidence beside them, pulled to (1, 0); a trusted row's q is the fit without it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.linear.logit import Pull, fit_logit
from stages.linear.narrow import log_softmax
from stages.purify.crossfit import chunks, noise_of
from stages.purify.sample import Fitted, Learning, Sample, few_rows
from stages.purify.transition import Learned, one_hot
from stages.purify.views import Plan

FLOOR = -12.0  # log-probability of what the rival cannot imagine


@dataclass(frozen=True)
class Pooled:
    """Two fitted purifiers, and what each weighs in every view."""

    method: Learning
    rival: Fitted
    weights: Sequence[tuple[float, float]]

    @property
    def transitions(self) -> Sequence[Learned]:
        """Return P(given | true) of every view."""
        return self.method.transitions

    def beliefs(self, rows: Tensor, view: int) -> Tensor:
        """Return log-probabilities [n, K]."""
        own, other = self.weights[view]
        log_beliefs = own * self.method.beliefs(rows, view)
        if other:
            log_beliefs = log_beliefs + other * self.rival.beliefs(rows, view).clamp_min(FLOOR)
        return log_softmax(log_beliefs)


def pool(pair: tuple[Learning, Fitted], sample: Sample, plan: Plan, ridge: float) -> Pooled:
    """Weigh a method and its rival in every view by the judges that the view knows."""
    weights = []
    for view in range(len(plan.views)):
        positions = plan.judges[plan.views.known[view, plan.judges]]
        positions = positions[few_rows(sample.draw[plan.views.rows[positions]], 2 * sample.classes)]
        if len(positions) == 0:
            weights.append((1.0, 0.0))
            continue
        rows, pairs = plan.views.rows[positions], plan.pairs(sample, positions)
        said = [torch.cat([one.beliefs(part, view) for part in chunks(rows, sample.classes)]).double() for one in pair]
        columns = torch.stack([said[0], said[1].clamp_min(FLOOR)], dim=2)
        offset = noise_of(pair[0], plan, view).log_evidence(pairs.said, torch.float64) + plan.views.priors[view].offset
        known = one_hot(pairs.labels, sample.classes, torch.float64).log()
        pull = Pull(columns.new_tensor([1.0, 0.0]), ridge)
        own, other = fit_logit(columns, known, pairs.weights, pull, offset).tolist()
        weights.append((max(own, 0.0), other) if other > 0 else (1.0, 0.0))
    return Pooled(pair[0], pair[1], weights)
