"""Plain supervised learning: weighted cross-entropy with hard or soft targets, label smoothing and mixup.

loss = −Σᵢ wᵢ Σ_k tᵢₖ log softmax(sᵢ)ₖ / Σᵢ wᵢ, with t ← (1 − ε) t + ε / K for smoothing ε; with mixup, inputs and
targets are λ · own + (1 − λ) · another row's, λ ~ Beta(α, α) once a batch.
Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


def loss(scores: Tensor, targets: Tensor, weights: Tensor, smoothing: float = 0.0) -> Tensor:
    """Score [n, K] predictions against [n, K] targets with [n] weights; 0 where no row has a weight."""
    smooth = (1.0 - smoothing) * targets + smoothing / targets.shape[1]
    each = -(smooth * functional.log_softmax(scores.float(), dim=1)).sum(dim=1)
    return (weights * each).sum() / weights.sum().clamp(min=1e-12)


@dataclass(frozen=True)
class Mixing:
    """Which row is mixed into which, and how much of its own each keeps."""

    keep: float
    partner: Tensor

    def mix(self, values: Tensor) -> Tensor:
        """Mix the rows of a batch."""
        return self.keep * values + (1.0 - self.keep) * values[self.partner]


def draw_mixing(count: int, alpha: float, generator: torch.Generator) -> Mixing | None:
    """Draw a mixing for a batch; None where mixup is off."""
    if alpha == 0:
        return None
    seed = int(torch.randint(2**62, (1,), generator=generator, device=generator.device))
    keep = float(np.random.default_rng(seed).beta(alpha, alpha))  # torch draws no Beta from a generator
    return Mixing(keep, torch.randperm(count, generator=generator, device=generator.device))
