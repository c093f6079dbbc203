"""A Gaussian kernel on unit rows, seen from a few landmarks (Nyström's method; Williams and Seeger, NeurIPS 2000).

For rows u on the unit sphere and landmarks L among them, k(u, v) = exp(−|u − v|²/2) = exp(u·v − 1). A function
f(u) = k(u, L) α has the norm αᵀ k(L, L) α, which is what a ridge regression of α has to hold down.
"""

import torch
from torch import Tensor

from stages.linear.design import CHUNK, working_dtype

JITTER = 1e-6  # of k(u, u) = 1: landmarks may repeat


def kernel(rows: Tensor, others: Tensor) -> Tensor:
    """Return k(u, v) for rows [n, d] and others [m, d] of length 1: [n, m]."""
    return (rows @ others.T).sub_(1).exp_()


def kernel_features(rows: Tensor, order: Tensor, landmarks: Tensor, stored: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return k(rows, L) [n, m] of rows in an order [n], in the dtype `stored`, and the norm k(L, L) [m, m] in float64.

    L are some of the rows.
    """
    dtype = working_dtype(rows)
    chosen = rows[landmarks].to(dtype)
    result = torch.empty(len(order), len(chosen), dtype=stored, device=rows.device)
    for start in range(0, len(order), CHUNK):
        here = slice(start, start + CHUNK)
        result[here] = kernel(rows[order[here]].to(dtype), chosen).to(stored)
    norm = kernel(chosen.double(), chosen.double())
    norm.diagonal().add_(JITTER)
    return result, norm
