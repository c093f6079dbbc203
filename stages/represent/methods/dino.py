"""DINO: sort every view into soft groups as a slow copy of the network, the teacher, sorts the other views.

loss = mean over pairs of different views of −Σ softmax((t − c) / tₜ) log softmax(s / tₛ), s = head(encoder(view)),
t = teacher(view); then c ← r c + (1 − r) mean t; before every step teacher ← m teacher + (1 − m) student, m as in byol.
Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", 2021.
"""

import warnings
from copy import deepcopy
from typing import cast

import torch
from lightly.loss.dino_loss import DINOLoss
from lightly.models.modules.heads import DINOProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from torch import Tensor, nn
from torch.nn import functional

from stages.images.augment import augment
from stages.images.augmentation import Augmentation
from stages.images.draws import uniform
from stages.networks.encoder import Encoder
from stages.represent.core import rising_momentum
from stages.represent.learner import Learner
from stages.represent.options import DinoOptions

SMALLEST_LOCAL = 0.05  # of the image's area


class Dino(Learner):
    """An encoder with DINO's head, teacher and centre."""

    freezes = True

    def __init__(self, encoder: Encoder, options: DinoOptions) -> None:
        super().__init__(encoder)
        self.options = options
        self.head = build_head(encoder.dim, options)
        teacher_head = build_head(encoder.dim, options)  # no deepcopy: weight norm forbids it
        teacher_head.load_state_dict(self.head.state_dict())
        self.teacher = nn.Sequential(deepcopy(encoder), teacher_head)
        deactivate_requires_grad(self.teacher)
        self.loss = DINOLoss(
            options.groups, options.teacher_temperature, options.teacher_temperature,
            student_temp=options.student_temperature, center_momentum=options.centre_momentum,
        )  # fmt: skip

    @property
    def result(self) -> Encoder:
        """Return the teacher's encoder, which the paper found to be the better one."""
        return cast(Encoder, self.teacher[0])

    def further_views(self, images: Tensor, how: Augmentation, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Cut small pieces of each image and change them too: all of them one tensor [local_views × n, 3, s, s]."""
        options = self.options
        if options.local_views == 0:
            return ()
        pieces = windows(images.repeat(options.local_views, 1, 1, 1), options.local_scale**0.5, generator)
        smallest = min(1.0, SMALLEST_LOCAL / options.local_scale)
        return (augment(pieces, how.model_copy(update={"crop_scale": smallest}), generator),)

    def forward(self, views: Tensor, *local: Tensor, done: float = 0.0) -> Tensor:
        """Let the student sort 2n views and the small ones as the teacher sorts the 2n; then move the centre."""
        with torch.no_grad():
            momentum = rising_momentum(self.options.momentum, done)
            update_momentum(self.encoder, self.teacher[0], momentum)
            update_momentum(self.head, self.teacher[1], momentum)
            taught = self.teacher(views).float()
        self.head.get_parameter("last_layer.weight_v").requires_grad_(done >= self.options.freeze_groups)
        guessed = [self.head(self.encode(some)).float() for some in (views, *local)]
        size = len(views) // 2
        loss: Tensor = self.loss(list(torch.split(taught, size)), list(torch.split(torch.cat(guessed), size)))
        return loss


def build_head(dim: int, options: DinoOptions) -> nn.Module:
    """Build a head with batch norm, as convolutional networks need it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.nn.utils.weight_norm`", FutureWarning)  # lightly's head uses it
        head: nn.Module = DINOProjectionHead(
            dim, options.hidden_dim, options.bottleneck_dim, options.groups, batch_norm=True
        )
    return head


def windows(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Cut from each image [n, 3, h, h] a square at a random place whose side is a share of the image's."""
    count, size = len(images), images.shape[2]
    side = max(4, round(share * size))
    reach = side / size
    place = [uniform(count, -1.0, 1.0, generator) * (1.0 - reach) for _ in range(2)]
    same, none = torch.full_like(place[0], reach), torch.zeros_like(place[0])
    maps = torch.stack([same, none, place[0], none, same, place[1]], dim=1).view(count, 2, 3)
    grid = functional.affine_grid(maps, [count, 3, side, side], align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
