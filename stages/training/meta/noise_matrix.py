"""A noise matrix that is learned, T[k, c] = P(given = c | true = k) (MLC; Wang, Hu and Hu, CVPR 2020).

T is a softmax of logits in each row, so that rows sum to 1, and multiplies probabilities (the release multiplies
scores and normalises columns): L = −mean log Σ_k f_k T[k, given], the forward correction of Patrini et al. (2017).
"""

import math

import torch
from torch import Tensor

from stages.training.meta.look_ahead import LookAhead, Params

SMALLEST = 1e-12


def first_logits(classes: int, kept: float, device: torch.device | None = None) -> Tensor:
    """Return the logits [K, K] of the matrix that keeps a label with probability `kept` and spreads the rest evenly."""
    odds = kept * (classes - 1) / (1 - kept)
    return torch.eye(classes, device=device) * math.log(odds)


def corrected_loss(scores: Tensor, logits: Tensor, given: Tensor) -> Tensor:
    """Return L for scores [..., n, K], logits of T [..., K, K] and given labels [n] (-1 = none: teaches nothing).

    Averaged over the rows that teach, summed over leading dimensions.
    """
    has = given >= 0
    likely = torch.softmax(logits, dim=-1)[..., given.clamp_min(0)].transpose(-1, -2)  # [..., n, K]
    each = (torch.softmax(scores, dim=-1) * likely).sum(dim=-1).clamp_min(SMALLEST).log()
    return -(each * has).sum() / has.sum().clamp_min(1)


def improve(ahead: LookAhead, params: Params, logits: Tensor, rate: float) -> Tensor:
    """Return better logits [..., K, K] after one meta step; `learn` of `ahead` is `corrected_loss` of its batch."""
    return logits - rate * ahead.gradient(params, logits)
