"""MoCo v2: tell each view's image from thousands of earlier ones, kept in a queue that a slow copy, the teacher, fills.

loss = mean over queries q of −log( exp(q·k⁺ / t) / (exp(q·k⁺ / t) + Σ_{k in queue} exp(q·k / t)) ), where
q = head(encoder(view)), k⁺ = teacher(other view), all ‖·‖ = 1; before every step teacher ← m teacher + (1 − m) student.
He et al., "Momentum Contrast for Unsupervised Visual Representation Learning", 2020; Chen et al., "Improved Baselines
with Momentum Contrastive Learning", 2020.
"""

from copy import deepcopy

import torch
from lightly.loss.ntx_ent_loss import NTXentLoss
from lightly.models.modules.heads import MoCoProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.utils import dist
from torch import Tensor, nn

from stages.networks.encoder import Encoder
from stages.represent.learner import Learner
from stages.represent.options import MocoOptions


class MoCo(Learner):
    """An encoder with MoCo's head, teacher and queue."""

    own_norms = ("teacher",)

    def __init__(self, encoder: Encoder, options: MocoOptions) -> None:
        super().__init__(encoder)
        self.options = options
        self.head = MoCoProjectionHead(encoder.dim, options.hidden_dim, options.projection_dim)
        self.teacher = nn.Sequential(deepcopy(encoder), deepcopy(self.head))
        deactivate_requires_grad(self.teacher)
        self.loss = NTXentLoss(options.temperature, (options.queue, options.projection_dim), gather_distributed=True)
        bank = self.loss.memory_bank
        for name in ("bank", "bank_ptr"):  # again, as lightly leaves them out of what a checkpoint holds
            bank.register_buffer(name, getattr(bank, name), persistent=True)

    def forward(self, views: Tensor, done: float = 0.0) -> Tensor:
        """Compare 2n views with the other views of their images and with the queue; then queue them."""
        with torch.no_grad():
            update_momentum(self.encoder, self.teacher[0], self.options.momentum)
            update_momentum(self.head, self.teacher[1], self.options.momentum)
        first, second = views.chunk(2)
        asking, answering = (views, torch.cat([second, first])) if self.options.symmetric else (first, second)
        queries = self.head(self.encode(asking)).float()
        loss: Tensor = self.loss(queries, self.keys(answering))
        return loss

    @torch.no_grad()
    def keys(self, views: Tensor) -> Tensor:
        """Encode views by the teacher, in parts: batch norm over the queries' batch would give the answers away."""
        splits = self.options.splits // dist.world_size()  # of all processes' views together
        parts = views.tensor_split(max(1, min(splits, len(views) // 2)))
        return torch.cat([self.teacher(part).float() for part in parts])
