"""Generalised cross-entropy: between cross-entropy and absolute error, so that unlikely labels pull less.

loss = mean (1 − p^q) / q, p = Σ_k t_k softmax(s)_k: its gradient is p^q times that of −log p. Truncated, p ← max(p, k):
rows whose label is thought less likely than k pull nothing.
Zhang and Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels", 2018.
"""

from torch import Tensor

from stages.retrain.learner import Batch, Learner, Setting
from stages.retrain.losses import log_likelihood, weighted_mean
from stages.retrain.options import GceOptions


class Gce(Learner):
    """One network under the generalised cross-entropy."""

    def __init__(self, setting: Setting, options: GceOptions) -> None:
        super().__init__([setting.build(0)])
        self.options = options

    def forward(self, batch: Batch) -> Tensor:
        """Compare; p^q is taken as exp(q log p), whose gradient is finite however small p is."""
        q, least = self.options.q, self.options.truncate
        power = (q * log_likelihood(self.scores(batch.views[0]), batch.targets)).exp()
        if least and batch.done >= self.options.truncate_after:
            power = power.clamp(min=least**q)
        return weighted_mean((1.0 - power) / q, batch.weights)
