"""CDR: in every step only the weights that matter most for it learn; the others, left to weight decay, fade.

Of all weights w of matrices and filters, with gradients g of the cross-entropy, the share 1 − r with the largest |g w|
keeps the gradient (1 − r) g, the others 0; r is the noise rate. Biases and norms learn as ever.
Xia et al., "Robust Early-Learning: Hindering the Memorization of Noisy Labels", 2021.
"""

import torch
from torch import Tensor

from stages.retrain.learner import Batch, Learner, Setting
from stages.retrain.losses import cross_entropies, noise_rate, weighted_mean
from stages.retrain.options import CdrOptions


class Cdr(Learner):
    """One network whose gradients are thinned out."""

    def __init__(self, setting: Setting, options: CdrOptions) -> None:
        super().__init__([setting.build(0)])
        self.kept = 1.0 - noise_rate(options.noise_rate, setting.noise_rate)

    def forward(self, batch: Batch) -> Tensor:
        """Compare."""
        return weighted_mean(cross_entropies(self.scores(batch.views[0]), batch.targets), batch.weights)

    def amend_gradients(self) -> None:
        """Keep the gradients of the weights that matter most."""
        thin_out([p for p in self.networks[0].parameters() if p.ndim > 1 and p.grad is not None], self.kept)


@torch.no_grad()
def thin_out(weights: list[torch.nn.Parameter], kept: float) -> None:
    """Set the gradients of all but a share of the weights to 0, and scale the others by that share."""
    matter = [(p * p.grad).abs() for p in weights if p.grad is not None]
    flat = torch.cat([m.flatten() for m in matter]) if matter else torch.empty(0)
    number = round(kept * flat.numel())
    if 0 < number < flat.numel():
        least = torch.topk(flat, number).values[-1]
        for p, m in zip(weights, matter, strict=True):
            p.grad = None if p.grad is None else p.grad * (kept * (m >= least))
