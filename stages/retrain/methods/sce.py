"""Symmetric cross-entropy: cross-entropy plus the same the other way round, which wrong labels cannot raise far.

loss = α mean(−Σ t log p) + β mean(−Σ p log t), where log 0 = A (−4).
Wang et al., "Symmetric Cross Entropy for Robust Learning with Noisy Labels", 2019.
"""

import math

import torch
from torch import Tensor

from stages.retrain.learner import Batch, Learner, Setting
from stages.retrain.losses import cross_entropies, weighted_mean
from stages.retrain.options import SceOptions


class Sce(Learner):
    """One network under both cross-entropies."""

    def __init__(self, setting: Setting, options: SceOptions) -> None:
        super().__init__([setting.build(0)])
        self.options = options

    def forward(self, batch: Batch) -> Tensor:
        """Compare both ways."""
        scores = self.scores(batch.views[0])
        log_targets = batch.targets.clamp(min=math.exp(self.options.log_zero)).log()
        reverse = -(torch.softmax(scores, dim=1) * log_targets).sum(dim=1)
        each = self.options.alpha * cross_entropies(scores, batch.targets) + self.options.beta * reverse
        return weighted_mean(each, batch.weights)
