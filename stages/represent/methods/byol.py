"""BYOL: predict what a slow copy of the network, the teacher, makes of the other view; no negatives.

loss = −½ cos(h(z₁), t₂) − ½ cos(h(z₂), t₁), z = head(encoder(view)), t = teacher(view), h the predictor; before every
step teacher ← m teacher + (1 − m) student, where m rises to 1: m = 1 − (1 − m₀) (1 + cos(π done)) / 2.
Grill et al., "Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning", 2020.
"""

from copy import deepcopy

import torch
from lightly.loss.negative_cosine_similarity import NegativeCosineSimilarity
from lightly.models.modules.heads import BYOLPredictionHead, BYOLProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from torch import Tensor, nn

from stages.networks.encoder import Encoder
from stages.represent.core import rising_momentum
from stages.represent.learner import Learner
from stages.represent.options import ByolOptions


class Byol(Learner):
    """An encoder with BYOL's projection head, predictor and teacher."""

    def __init__(self, encoder: Encoder, options: ByolOptions) -> None:
        super().__init__(encoder)
        self.momentum = options.momentum
        self.head = BYOLProjectionHead(encoder.dim, options.hidden_dim, options.projection_dim)
        self.predictor = BYOLPredictionHead(options.projection_dim, options.hidden_dim, options.projection_dim)
        self.teacher = nn.Sequential(deepcopy(encoder), deepcopy(self.head))
        deactivate_requires_grad(self.teacher)
        self.loss = NegativeCosineSimilarity()

    def forward(self, views: Tensor, done: float = 0.0) -> Tensor:
        """Predict for each of 2n views what the teacher makes of the other view of its image."""
        with torch.no_grad():
            momentum = rising_momentum(self.momentum, done)
            update_momentum(self.encoder, self.teacher[0], momentum)
            update_momentum(self.head, self.teacher[1], momentum)
            first, second = self.teacher(views).float().chunk(2)
        guess_of_second, guess_of_first = self.predictor(self.head(self.encode(views))).float().chunk(2)
        loss: Tensor = (self.loss(guess_of_second, second) + self.loss(guess_of_first, first)) / 2
        return loss
