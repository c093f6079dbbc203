"""Barlow Twins: each number of a projection shall agree between the two views and tell something that no other tells.

loss = Σᵢ (1 − Cᵢᵢ)² + λ Σ_{i ≠ j} Cᵢⱼ², C = Z₁ᵀ Z₂ / n, Z the projections with mean 0 and variance 1 over the batch.
Zbontar et al., "Barlow Twins: Self-Supervised Learning via Redundancy Reduction", 2021.
"""

from lightly.loss.barlow_twins_loss import BarlowTwinsLoss
from lightly.models.modules.heads import VICRegProjectionHead
from torch import Tensor

from stages.networks.encoder import Encoder
from stages.networks.sharing import all_rows
from stages.represent.learner import Learner
from stages.represent.options import BarlowTwinsOptions


class BarlowTwins(Learner):
    """An encoder with Barlow Twins' head and loss."""

    def __init__(self, encoder: Encoder, options: BarlowTwinsOptions) -> None:
        super().__init__(encoder)
        # lightly's head of VICReg is that of Barlow Twins with its depth as an option
        self.head = VICRegProjectionHead(encoder.dim, options.hidden_dim, options.projection_dim, options.layers)
        self.loss = BarlowTwinsLoss(options.redundancy)

    def forward(self, views: Tensor, done: float = 0.0) -> Tensor:
        """Compare 2n views, the second views after the first."""
        first, second = (all_rows(z) for z in self.head(self.encode(views)).float().chunk(2))
        loss: Tensor = self.loss(first, second)
        return loss
