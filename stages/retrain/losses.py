"""What losses of several methods are made of."""

import torch
from torch import Tensor


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
