"""Patches instead of depth: each small square of an image is compared with known ones, and the answers are pooled.

One convolution of contrast-normalised patches, a threshold, means over a grid (and over an image and its mirror image,
where a mirror image shows the same thing), square roots; the mean colours of the grid beside them, as contrast says
nothing of brightness; and one linear map. In bfloat16, where wanted, a pixel is off by a quarter of its own rounding.
"""

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from pipeline.config import Config
from stages.networks.devices import mixed_precision

CHUNK = {"cpu": 16, "cuda": 256}  # images at a time: on a CPU their answers stay in its cache, twice as fast
FLAT = 0.08  # contrast, in standard deviations of the dataset's pixels, below which a patch counts as flat
ROOT = 1e-4  # keeps the square root's gradient finite where nothing answers


class PatchShape(Config):
    """All that rebuilds the network but its weights."""

    atoms: int = Field(ge=1)
    patch_size: int = Field(ge=1)
    stride: int = Field(ge=1)
    grid: int = Field(ge=1)
    dim: int = Field(ge=1)
    mirror: bool = False  # whether an image and its mirror image are the same
    mixed: bool = False  # whether answers may be computed in bfloat16 where that is faster


class PatchNetwork(nn.Module):
    """Map images [n, 3, h, w] to [n, dim] numbers."""

    def __init__(self, shape: PatchShape) -> None:
        super().__init__()
        self.shape = shape
        self.filters = nn.Conv2d(3, shape.atoms, shape.patch_size, shape.stride)
        self.projection = nn.Linear((shape.atoms + 3) * shape.grid**2, shape.dim)

    def forward(self, images: Tensor) -> Tensor:
        """Encode."""
        features: Tensor = self.projection(self.codes(images))
        return features

    def codes(self, images: Tensor) -> Tensor:
        """Pool what the atoms answer to all patches, and the colours: [n, (atoms + 3) × grid²]."""
        return torch.cat([self._codes(some) for some in torch.split(images, CHUNK.get(images.device.type, 64))])

    def _codes(self, images: Tensor) -> Tensor:
        if self.shape.mirror:
            flipped = images.flip(3)
            answers, images = (self._answers(images) + self._answers(flipped)) / 2, (images + flipped) / 2
        else:
            answers = self._answers(images)
        colours = functional.adaptive_avg_pool2d(images, self.shape.grid).flatten(1)
        return torch.cat([(answers + ROOT).sqrt(), colours], dim=1)

    def _answers(self, images: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        with mixed_precision(images.device, self.shape.mixed):
            response = self.filters._conv_forward(images, self.filters.weight, None)
        response = response / contrast(images, self.shape.patch_size, self.shape.stride).to(response.dtype)
        if self.filters.bias is not None:
            response = response + self.filters.bias.view(1, -1, 1, 1).to(response.dtype)
        return functional.adaptive_avg_pool2d(functional.relu(response), self.shape.grid).flatten(1).float()


def contrast(images: Tensor, size: int, stride: int) -> Tensor:
    """Measure the standard deviation of each patch over its pixels and colours, not below FLAT: [n, 1, h', w']."""
    mean = functional.avg_pool2d(images.mean(dim=1, keepdim=True), size, stride)
    square = functional.avg_pool2d(images.square().mean(dim=1, keepdim=True), size, stride)
    return (square - mean.square()).clamp(min=0).add(FLAT**2).sqrt()
