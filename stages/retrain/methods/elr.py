"""Early-learning regularisation: what a network said early about a row holds it back from learning a wrong label later.

loss = mean(−Σ y log p + λ log(1 − ⟨p, t⟩)), where t, a memory of each row, is t ← β t + (1 − β) p whenever the row is
seen, and teaches nothing itself; p is kept within 10⁻⁴ and 1 − 10⁻⁴.
Liu et al., "Early-Learning Regularization Prevents Memorization of Noisy Labels", 2020.
"""

import torch
from torch import Tensor

from stages.retrain.learner import Batch, Learner, Setting
from stages.retrain.losses import cross_entropies, inner_probs, pull, remembered, weighted_mean
from stages.retrain.options import ElrOptions


class Elr(Learner):
    """One network, and what it remembers of each row."""

    remembered = ("memory",)
    memory: Tensor

    def __init__(self, setting: Setting, options: ElrOptions) -> None:
        super().__init__([setting.build(0)])
        self.options = options
        self.register_buffer("memory", torch.zeros(setting.rows, setting.classes))

    def forward(self, batch: Batch) -> Tensor:
        """Remember, and compare with the label and with the memory."""
        scores = self.scores(batch.views[0])
        probs = inner_probs(scores)
        memory = remembered(self.memory[batch.rows], probs.detach(), self.options.beta)
        self.memory[batch.rows] = memory
        each = cross_entropies(scores, batch.targets) + self.options.weight * pull(probs, memory)
        return weighted_mean(each, batch.weights)
