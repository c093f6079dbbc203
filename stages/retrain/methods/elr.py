"""Early-learning regularisation: what a network said early about a row holds it back from learning a wrong label later.

loss = mean(−Σ y log p + λ log(1 − ⟨p, t⟩)), where t, a memory of each row, is t ← β t + (1 − β) p whenever the row is
seen, and teaches nothing itself; p is kept within 10⁻⁴ and 1 − 10⁻⁴.
Liu et al., "Early-Learning Regularization Prevents Memorization of Noisy Labels", 2020.
"""

import torch
from torch import Tensor

from stages.retrain.learner import Batch, Learner, Setting
from stages.retrain.losses import cross_entropies, weighted_mean
from stages.retrain.options import ElrOptions

EDGE = 1e-4


class Elr(Learner):
    """One network, and what it remembers of each row."""

    memory: Tensor

    def __init__(self, setting: Setting, options: ElrOptions) -> None:
        super().__init__([setting.build(0)])
        self.options = options
        self.register_buffer("memory", torch.zeros(setting.rows, setting.classes))

    def forward(self, batch: Batch) -> Tensor:
        """Remember, and compare with the label and with the memory."""
        scores = self.scores(batch.views[0])
        probs = torch.softmax(scores, dim=1).clamp(EDGE, 1.0 - EDGE)
        said = probs.detach()
        self.memory[batch.rows] = self.options.beta * self.memory[batch.rows] + (1.0 - self.options.beta) * (
            said / said.sum(dim=1, keepdim=True)
        )
        each = cross_entropies(scores, batch.targets) + self.options.weight * pull(probs, self.memory[batch.rows])
        return weighted_mean(each, batch.weights)


def pull(probs: Tensor, memory: Tensor) -> Tensor:
    """Pull towards the memory [n, K], [n]: the less, the more the two agree."""
    return (1.0 - (probs * memory).sum(dim=1)).log()
