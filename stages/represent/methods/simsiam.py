"""SimSiam: predict one view's projection from the other's, with no negatives, no teacher, only a stopped gradient.

loss = −½ cos(h(z₁), stop(z₂)) − ½ cos(h(z₂), stop(z₁)), zᵢ = head(encoder(viewᵢ)), h the predictor.
Chen and He, "Exploring Simple Siamese Representation Learning", 2021.
"""

from itertools import pairwise

from lightly.loss.negative_cosine_similarity import NegativeCosineSimilarity
from lightly.models.modules.heads import ProjectionHead, SimSiamPredictionHead
from torch import Tensor, nn

from stages.networks.encoder import Encoder
from stages.represent.learner import Learner
from stages.represent.options import SimsiamOptions


class SimSiam(Learner):
    """An encoder with SimSiam's projection head and predictor."""

    def __init__(self, encoder: Encoder, options: SimsiamOptions) -> None:
        super().__init__(encoder)
        width, out = options.hidden_dim, options.projection_dim
        sizes = [encoder.dim] + [width] * (options.layers - 1)
        hidden = [(a, b, nn.BatchNorm1d(b), nn.ReLU()) for a, b in pairwise(sizes)]
        self.head = ProjectionHead([*hidden, (sizes[-1], out, nn.BatchNorm1d(out, affine=False), None)])
        self.predictor = SimSiamPredictionHead(out, options.predictor_dim, out)
        self.loss = NegativeCosineSimilarity()

    def forward(self, views: Tensor, done: float = 0.0) -> Tensor:
        """Predict each of 2n views' projections from the other view of its image."""
        projected = self.head(self.encode(views))
        first, second = projected.detach().float().chunk(2)
        guess_of_second, guess_of_first = self.predictor(projected).float().chunk(2)
        loss: Tensor = (self.loss(guess_of_second, second) + self.loss(guess_of_first, first)) / 2
        return loss
