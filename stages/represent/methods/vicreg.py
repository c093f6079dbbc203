"""VICReg: views of one image agree (invariance), every number varies (variance), no two tell the same (covariance).

loss = λ mean (z₁ − z₂)² + μ ½ Σ_views mean_j max(0, 1 − √(var z_j + ε)) + ν Σ_views Σ_{i ≠ j} cov(z)ᵢⱼ² / d.
Bardes, Ponce and LeCun, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning", 2022.
"""

from lightly.loss.vicreg_loss import VICRegLoss
from lightly.models.modules.heads import VICRegProjectionHead
from torch import Tensor

from stages.networks.encoder import Encoder
from stages.represent.learner import Learner
from stages.represent.options import VicregOptions


class VicReg(Learner):
    """An encoder with VICReg's head and loss."""

    def __init__(self, encoder: Encoder, options: VicregOptions) -> None:
        super().__init__(encoder)
        self.head = VICRegProjectionHead(encoder.dim, options.hidden_dim, options.projection_dim, options.layers)
        self.loss = VICRegLoss(options.invariance, options.variance, options.covariance, gather_distributed=True)

    def forward(self, views: Tensor, done: float = 0.0) -> Tensor:
        """Compare 2n views, the second views after the first."""
        first, second = self.head(self.encode(views)).float().chunk(2)
        loss: Tensor = self.loss(first, second)
        return loss
