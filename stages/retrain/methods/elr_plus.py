"""ELR+: early-learning regularisation with two networks, averaged weights and mixup.

As in elr, but a network's memory t of a row comes from the other network's slow copy, seen on the unmixed input; inputs
are mixed, and with the same shares labels and memories: loss = mean(−Σ ỹ log p + λ log(1 − ⟨p, t̃⟩)). Slow copies:
θ̄ ← m θ̄ + (1 − m) θ before every step; what is shipped is the mean of both.
Liu et al., "Early-Learning Regularization Prevents Memorization of Noisy Labels", 2020.
"""

import torch
from torch import Tensor, nn

from stages.networks.classifiers import Ensemble
from stages.retrain.learner import Batch, Learner, Setting
from stages.retrain.losses import cross_entropies, inner_probs, pull, remembered, weighted_mean
from stages.retrain.mixing import Mixing, mixup
from stages.retrain.options import ElrPlusOptions
from stages.retrain.slow_copy import SlowCopy


class ElrPlus(Learner):
    """Two networks, their slow copies, and what each is told about every row."""

    remembered = ("memory",)
    memory: Tensor

    def __init__(self, setting: Setting, options: ElrPlusOptions) -> None:
        super().__init__([setting.build(0), setting.build(1)])
        self.options = options
        self.slow = nn.ModuleList([SlowCopy(network) for network in self.networks])
        self.register_buffer("memory", torch.zeros(2, setting.rows, setting.classes))

    @property
    def result(self) -> nn.Module:
        """Return the mean of the slow copies."""
        return Ensemble([copy.get_submodule("network") for copy in self.slow])

    def forward(self, batch: Batch) -> Tensor:
        """Let the copies follow, and train both networks on the same mixture."""
        for copy, network in zip(self.slow, self.networks, strict=True):
            if isinstance(copy, SlowCopy):
                copy.follow(network, self.options.momentum)
        mixing = mixup(len(batch.rows), self.options.mixup, batch.generator())
        return self.loss_of(0, 1, batch, mixing) + self.loss_of(1, 0, batch, mixing)

    def loss_of(self, own: int, other: int, batch: Batch, mixing: Mixing) -> Tensor:
        """Compare one network with the mixed labels and with what the other's copy remembers."""
        with torch.no_grad():
            said = torch.softmax(self.slow[other](batch.views[0]), dim=1)
            memory = remembered(self.memory[own, batch.rows], said, self.options.beta)
            self.memory[own, batch.rows] = memory
        targets, weights = mixing.lessons(batch.targets, batch.weights)
        scores = self.networks[own](mixing.inputs(batch.views[0])).float()
        pulled = pull(inner_probs(scores), mixing.values(memory))
        return weighted_mean(cross_entropies(scores, targets) + self.options.weight * pulled, weights)
