"""Soft labels that are learned, a row of logits ỹ for each sample (MSLG; Algan and Ulusoy, ICPR 2020).

With ŷ = softmax(ỹ) and f = softmax(scores): L = KL(f‖ŷ), and the network learns from L + γ H(f); for γ = 1 this is
−Σ f log ŷ, the reverse cross-entropy. Both are summed over classes and averaged over rows, so the paper's rate α
(average over rows *and* classes) is to be divided by the number of classes.
"""

import torch
from torch import Tensor

from stages.training.meta.look_ahead import LookAhead, Params


def first_logits(given: Tensor, classes: int, sharpness: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return ỹ = sharpness · onehot(given) [n, K] for given labels [n]; a label of -1 leaves zeros."""
    logits = torch.zeros(len(given), classes, dtype=dtype, device=given.device)
    has = given >= 0
    logits[has, given[has]] = sharpness
    return logits


def divergence(scores: Tensor, logits: Tensor) -> Tensor:
    """Return KL(f‖ŷ) of scores and logits [..., n, K], averaged over rows and summed over the rest."""
    log_f = torch.log_softmax(scores, dim=-1)
    return (log_f.exp() * (log_f - torch.log_softmax(logits, dim=-1))).sum() / scores.shape[-2]


def network_loss(scores: Tensor, logits: Tensor, entropy: float = 1.0) -> Tensor:
    """Return what the network learns from, KL(f‖ŷ) + γ H(f), averaged and summed like `divergence`."""
    log_f = torch.log_softmax(scores, dim=-1)
    wanted = (1.0 - entropy) * log_f - torch.log_softmax(logits, dim=-1)
    return (log_f.exp() * wanted).sum() / scores.shape[-2]


def improve(ahead: LookAhead, params: Params, logits: Tensor, rate: float) -> Tensor:
    """Return better logits [..., n, K] after one meta step.

    The step is n · rate · gradient: as the loss is an average, a row moves alike in batches of any size.
    """
    return logits - rate * logits.shape[-2] * ahead.gradient(params, logits)
