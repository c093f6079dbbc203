"""Augment whole batches where they are, each image by its own random parameters.

Geometry is one affine map per image, colour one 3×3 matrix and offset per image, so that a batch costs one resampling
and one small product, however many effects are on.
"""

import math
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from stages.images.augmentation import Augmentation
from stages.images.draws import uniform

JITTER_PROBABILITY = 0.8
LUMA = (0.299, 0.587, 0.114)
BLUR_SIGMA = (0.1, 2.0)
# RGB to luma and two chroma axes, in which a hue is an angle
YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


def augment(images: Tensor, how: Augmentation, generator: torch.Generator) -> Tensor:
    """Change each image [n, 3, h, w] in 0..1 in its own way; the result is in 0..1 too."""
    if how.crop_scale < 1 or how.flip or how.rotation or how.shift:
        grid = functional.affine_grid(affine_maps(len(images), how, generator), list(images.shape), align_corners=False)
        images = functional.grid_sample(images, grid, padding_mode="zeros", align_corners=False)
    if how.colour or how.grey:
        images = recolour(images, how, generator)
    if how.blur:
        images = blur(images, how.blur, generator)
    return images


@cache
def constant(values: tuple[Any, ...], device: torch.device) -> Tensor:
    """Bring numbers to a device once: every time again would make a GPU wait for its last step."""
    with torch.inference_mode(mode=False):
        return torch.tensor(values, device=device)


@cache
def inverse(values: tuple[tuple[float, ...], ...], device: torch.device) -> Tensor:
    """Bring the inverse of a matrix to a device once."""
    with torch.inference_mode(mode=False):
        inverted: Tensor = torch.linalg.inv(torch.tensor(values)).to(device)
        return inverted


def affine_maps(count: int, how: Augmentation, generator: torch.Generator) -> Tensor:
    """Draw [count, 2, 3] maps from a view's coordinates (−1..1) to the image's: crop, mirror, rotate, shift."""
    area = uniform(count, how.crop_scale, 1.0, generator)
    bound = -math.log(how.crop_ratio) if how.crop_scale < 1 else 0.0
    ratio = torch.exp(0.5 * uniform(count, -bound, bound, generator))
    width, height = (area.sqrt() * ratio).clamp(max=1.0), (area.sqrt() / ratio).clamp(max=1.0)
    x = uniform(count, -1.0, 1.0, generator) * (1.0 - width) + uniform(count, -2.0, 2.0, generator) * how.shift
    y = uniform(count, -1.0, 1.0, generator) * (1.0 - height) + uniform(count, -2.0, 2.0, generator) * how.shift
    angle = uniform(count, -1.0, 1.0, generator) * math.radians(how.rotation)
    mirror = 1.0 - 2.0 * (uniform(count, 0.0, 1.0, generator) < 0.5) if how.flip else torch.ones_like(area)
    sine, cosine = angle.sin(), angle.cos()
    rows = (width * cosine * mirror, -height * sine, x, width * sine * mirror, height * cosine, y)
    return torch.stack(rows, dim=1).view(count, 2, 3)


def recolour(images: Tensor, how: Augmentation, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast, saturation and hue, or drop the colours: x → M x + offset for each image."""
    count, device = len(images), generator.device
    matrix, lift = jitter_matrices(count, how.colour, generator)
    luma = constant(LUMA, device)
    mean = torch.einsum("nchw,c->n", images, luma) / (images.shape[2] * images.shape[3])
    grey = uniform(count, 0.0, 1.0, generator) < how.grey
    matrix = torch.where(grey.view(-1, 1, 1), luma.expand(3, 3) @ matrix, matrix)
    offset = (lift * mean).view(-1, 1, 1, 1)
    return (torch.einsum("nij,njhw->nihw", matrix, images) + offset).clamp(0.0, 1.0)


def jitter_matrices(count: int, strength: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw [count, 3, 3] colour matrices and [count] shares of the mean grey to add, with SimCLR's strengths.

    Brightness b multiplies, contrast c blends with the mean grey (b c x + b (1 − c) mean), saturation scales the chroma
    plane and hue turns it. One image in five keeps its colours.
    """
    device = generator.device
    jittered = uniform(count, 0.0, 1.0, generator) < JITTER_PROBABILITY
    reach = 0.8 * strength

    def factors() -> Tensor:
        return torch.where(jittered, uniform(count, 1.0 - reach, 1.0 + reach, generator), 1.0)

    brightness, contrast, saturation = factors(), factors(), factors()
    turn = torch.where(jittered, uniform(count, -0.2, 0.2, generator) * strength * 2.0 * math.pi, 0.0)
    zero, one = torch.zeros_like(turn), torch.ones_like(turn)
    sine, cosine = saturation * turn.sin(), saturation * turn.cos()
    chroma = torch.stack([one, zero, zero, zero, cosine, -sine, zero, sine, cosine], dim=1).view(count, 3, 3)
    matrix = inverse(YIQ, device) @ chroma @ constant(YIQ, device)
    return matrix * (brightness * contrast).view(-1, 1, 1), brightness * (1.0 - contrast)


def blur(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Blur some images by Gaussians of their own width; the kernel spans a tenth of the image, as in SimCLR."""
    count, channels, size, _ = images.shape
    reach = max(1, size // 20)
    sigma = uniform(count, *BLUR_SIGMA, generator)
    blurred = uniform(count, 0.0, 1.0, generator) < probability
    at = torch.arange(-reach, reach + 1, device=images.device)
    kernel = torch.exp(-0.5 * (at / sigma.view(-1, 1)) ** 2)
    kernel = torch.where(blurred.view(-1, 1), kernel / kernel.sum(dim=1, keepdim=True), (at == 0).float())
    weight = kernel.repeat_interleave(channels, dim=0)
    padded = functional.pad(images.contiguous(), [reach] * 4, mode="replicate").flatten(0, 1).unsqueeze(0)
    across = functional.conv2d(padded, weight[:, None, None, :], groups=count * channels)
    return functional.conv2d(across, weight[:, None, :, None], groups=count * channels).view_as(images)
