"""Rows of a batch mixed into each other: mixup blends them, CutMix covers a part of one picture by another.

mixup: λ · own + (1 − λ) · another row's, λ ~ Beta(α, α) once a batch; targets too, each by its row's weight.
CutMix: a box of 1 − λ of the area comes from the other picture; targets by the areas.
Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018; Yun et al., "CutMix: Regularization Strategy to Train
Strong Classifiers with Localizable Features", 2019.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Box = tuple[int, int, int, int]  # top, bottom, left, right


@dataclass(frozen=True)
class Mixing:
    """Which row is mixed into which, how much of its own each keeps, and the box that is covered, if one is."""

    keep: float
    partner: Tensor
    box: Box | None = None

    def inputs(self, inputs: Tensor) -> Tensor:
        """Mix inputs [n, ...]."""
        if self.box is None:
            return self.values(inputs)
        top, bottom, left, right = self.box
        covered = inputs.clone()
        covered[:, :, top:bottom, left:right] = inputs[self.partner, :, top:bottom, left:right]
        return covered

    def values(self, values: Tensor) -> Tensor:
        """Mix what belongs to the inputs, [n, ...]."""
        return self.keep * values + (1.0 - self.keep) * values[self.partner]

    def lessons(self, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Mix targets [n, K] and weights [n]: a row that counts little gives little of its target."""
        taught = self.values(targets * weights[:, None])
        mixed = self.values(weights)
        return taught / mixed.clamp(min=1e-12)[:, None], mixed


def mixup(count: int, alpha: float, generator: torch.Generator, own: bool = False) -> Mixing:
    """Draw a blend for a batch; `own`: every row keeps the larger part of itself."""
    keep = float(draws(generator).beta(alpha, alpha))
    keep = max(keep, 1.0 - keep) if own else keep
    return Mixing(keep, partners(count, generator))


def cutmix(shape: torch.Size, alpha: float, generator: torch.Generator) -> Mixing:
    """Draw a box for a batch of pictures [n, channels, h, w]; at the edge it is cut off."""
    drawn = draws(generator)
    side = float(np.sqrt(1.0 - drawn.beta(alpha, alpha)))
    height, width = shape[2], shape[3]
    row, column = int(drawn.integers(height)), int(drawn.integers(width))
    tall, wide = round(side * height), round(side * width)
    top, left = max(0, row - tall // 2), max(0, column - wide // 2)
    bottom, right = min(height, row - tall // 2 + tall), min(width, column - wide // 2 + wide)
    keep = 1.0 - (bottom - top) * (right - left) / (height * width)
    return Mixing(keep, partners(shape[0], generator), (top, bottom, left, right))


def draws(generator: torch.Generator, purpose: int = 0) -> np.random.Generator:
    """Make numpy's generator from torch's, which draws no Beta; no look at a GPU is needed."""
    return np.random.default_rng([generator.initial_seed(), purpose])


def partners(count: int, generator: torch.Generator) -> Tensor:
    """Draw the row that each row is mixed with."""
    return torch.randperm(count, generator=generator, device=generator.device)
