"""SimCLR: pull two views of one image together and push all other images of the batch away.

loss = mean over the 2n views i of −log( exp(zᵢ·z_j / t) / Σ_{k ≠ i} exp(zᵢ·z_k / t) ), j the other view of i's image,
z = head(encoder(view)) / ‖·‖.
Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", 2020.
"""

from lightly.loss.ntx_ent_loss import NTXentLoss
from lightly.models.modules.heads import SimCLRProjectionHead
from torch import Tensor

from stages.networks.encoder import Encoder
from stages.represent.learner import Learner
from stages.represent.options import SimclrOptions


class SimClr(Learner):
    """An encoder with SimCLR's head and loss."""

    def __init__(self, encoder: Encoder, options: SimclrOptions) -> None:
        super().__init__(encoder)
        self.head = SimCLRProjectionHead(encoder.dim, options.hidden_dim, options.projection_dim)
        self.loss = NTXentLoss(options.temperature, gather_distributed=True)

    def forward(self, views: Tensor, done: float = 0.0) -> Tensor:
        """Compare 2n views [2n, 3, size, size], the second views after the first, and return the loss."""
        first, second = self.head(self.encode(views)).float().chunk(2)
        loss: Tensor = self.loss(first, second)
        return loss
