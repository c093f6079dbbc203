"""What every self-supervised method is: an encoder with a head and a loss; and the choice between the methods."""

from typing import assert_never

import torch
from torch import Tensor, nn

from stages.images.augmentation import Augmentation
from stages.networks.encoder import Encoder
from stages.networks.recompute import in_parts
from stages.represent.config import RepresentConfig


class Learner(nn.Module):
    """An encoder and what teaches it; all that changes in training is a parameter or a buffer, so that it is saved."""

    parts = 1  # in how many the encoder sees a batch
    own_norms: tuple[str, ...] = ()  # members whose batch norm looks at this process's images alone
    freezes = False  # whether some parameters rest for a while

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def encode(self, views: Tensor) -> Tensor:
        """Encode views [n, 3, size, size], in parts where memory is short."""
        return in_parts(self.encoder, views, self.parts)

    @property
    def result(self) -> Encoder:
        """Return the encoder that training was for."""
        return self.encoder

    def further_views(self, _images: Tensor, _how: Augmentation, _generator: torch.Generator) -> tuple[Tensor, ...]:
        """Make what a method wants to see beside two views of each image: nothing, mostly."""
        return ()


def build_learner(encoder: Encoder, config: RepresentConfig) -> Learner:
    """Put the chosen method around an encoder; its `forward(views, *further views, done)` returns the loss.

    views [2n, 3, size, size]: the second views after the first; done: the share of the training that is behind, 0..1.
    """
    match config.method:  # imports inside, as lightly takes a second to import
        case "simclr":
            from stages.represent.methods.simclr import SimClr

            return SimClr(encoder, config.simclr)
        case "moco":
            from stages.represent.methods.moco import MoCo

            return MoCo(encoder, config.moco)
        case "simsiam":
            from stages.represent.methods.simsiam import SimSiam

            return SimSiam(encoder, config.simsiam)
        case "byol":
            from stages.represent.methods.byol import Byol

            return Byol(encoder, config.byol)
        case "barlow_twins":
            from stages.represent.methods.barlow_twins import BarlowTwins

            return BarlowTwins(encoder, config.barlow_twins)
        case "vicreg":
            from stages.represent.methods.vicreg import VicReg

            return VicReg(encoder, config.vicreg)
        case "dino":
            from stages.represent.methods.dino import Dino

            return Dino(encoder, config.dino)
        case "patches":
            raise ValueError("patches are fitted at once, not learned step by step")
        case "weights":
            raise ValueError("weights are brought, not learned")
        case _:
            assert_never(config.method)
