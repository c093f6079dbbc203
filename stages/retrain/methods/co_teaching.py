"""Co-teaching: of every batch each of two networks picks the rows that it finds easiest, and the other learns these.

Rows kept: R = 1 − r min(done / ramp, 1) of the batch, those of the smallest loss, for a noise rate r. The networks
differ in their first weights; what is shipped is their mean.
Han et al., "Co-teaching: Robust Training of Deep Neural Networks with Extremely Noisy Labels", 2018.
"""

import torch
from torch import Tensor

from stages.retrain.learner import Batch, Learner, Setting
from stages.retrain.losses import cross_entropies, noise_rate, weighted_mean
from stages.retrain.options import CoTeachingOptions


class CoTeaching(Learner):
    """Two networks that pick rows for each other."""

    def __init__(self, setting: Setting, options: CoTeachingOptions) -> None:
        super().__init__([setting.build(0), setting.build(1)])
        self.rate = noise_rate(options.noise_rate, setting.noise_rate)
        self.ramp = options.ramp

    def forward(self, batch: Batch) -> Tensor:
        """Pick rows, exchange them, and add up both losses."""
        kept = 1.0 - self.rate * min(batch.done / self.ramp, 1.0)
        first, second = (cross_entropies(net(batch.views[0]).float(), batch.targets) for net in self.networks)
        for_second, for_first = easiest(first, kept), easiest(second, kept)
        return weighted_mean(first[for_first], batch.weights[for_first]) + weighted_mean(
            second[for_second], batch.weights[for_second]
        )


def easiest(losses: Tensor, share: float) -> Tensor:
    """List the share of rows with the smallest losses [n]: one at least."""
    return torch.topk(losses.detach(), max(1, round(share * len(losses))), largest=False).indices
