"""What says without labels whether an encoder learned something, and how a teacher slows down."""

import math

import torch
from torch import Tensor
from torch.nn import functional

ROUNDING = 1e-5  # of the length of all rows: a spread below it is float32's, not the images'


def effective_rank(features: Tensor) -> float:
    """Count the directions that features [n, d] really use: exp of the entropy of their singular values' shares."""
    rows = features.double()
    values = torch.linalg.svdvals(rows - rows.mean(dim=0))
    total = values.sum()
    if total <= ROUNDING * torch.linalg.matrix_norm(rows):
        return 0.0
    shares = values / total
    return float(torch.special.entr(shares).sum().exp())


def alignment(first: Tensor, second: Tensor) -> float:
    """Average ‖a − b‖² over the unit vectors of two views [n, d] each: 0 where views agree, 2 where they do not."""
    difference = functional.normalize(first.double()) - functional.normalize(second.double())
    return float(difference.square().sum(dim=1).mean())


def uniformity(features: Tensor) -> float:
    """Measure log mean exp(−2 ‖a − b‖²) over pairs of unit vectors [n, d]: 0 where all are the same, −4 if spread."""
    unit = functional.normalize(features.double())
    return float(torch.pdist(unit).square().mul(-2).exp().mean().clamp(min=1e-300).log()) if len(unit) > 1 else 0.0


def rising_momentum(start: float, done: float) -> float:
    """Raise a teacher's momentum from `start` to 1 by half a cosine while `done` goes from 0 to 1."""
    return 1.0 - (1.0 - start) * (1.0 + math.cos(math.pi * done)) / 2
