"""What losses of several methods are made of."""

import torch
from torch import Tensor

EDGE = 1e-4


def cross_entropies(scores: Tensor, targets: Tensor) -> Tensor:
    """Compare scores with targets [n, K] row by row: −Σ_k t_k log softmax(s)_k, [n]."""
    return -(targets * torch.log_softmax(scores, dim=1)).sum(dim=1)


def log_likelihood(scores: Tensor, targets: Tensor) -> Tensor:
    """Tell how likely the targets are, [n]: log Σ_k t_k softmax(s)_k."""
    return torch.logsumexp(torch.log_softmax(scores, dim=1) + targets.log(), dim=1)


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Average [n] values by [n] weights; 0 where no row has a weight."""
    return (weights * values).sum() / weights.sum().clamp(min=1e-12)


def noise_rate(asked: float, told: float) -> float:
    """Take the noise rate that was asked for, or what the label table tells where none was."""
    return asked or told


def inner_probs(scores: Tensor) -> Tensor:
    """Turn scores [n, K] into probabilities within 10⁻⁴ and 1 − 10⁻⁴."""
    return torch.softmax(scores, dim=1).clamp(EDGE, 1.0 - EDGE)


def remembered(memory: Tensor, said: Tensor, kept: float) -> Tensor:
    """Add to memories [n, K] what was said now, as shares that sum to 1."""
    return kept * memory + (1.0 - kept) * said / said.sum(dim=1, keepdim=True)


def pull(probs: Tensor, memory: Tensor) -> Tensor:
    """Pull towards memories [n, K], [n]: log(1 − ⟨p, t⟩), lower the more the two agree."""
    return (1.0 - (probs * memory).sum(dim=1)).clamp(min=EDGE).log()
