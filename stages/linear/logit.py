"""A logit with few weights whose outcome may be hidden: Newton's method with the exact second derivative.

Maximise Σ_i w_i log Σ_k softmax(X_i θ)_k e^{E_ik} − ρ/2 |θ − θ₀|². E is the log-likelihood of what was seen, were the
class k; where the class is known, E is 0 there and −∞ elsewhere, and this is the conditional logit (McFadden 1974).
With p = softmax(Xθ) and r ∝ p e^E the gradient is Σ w (E_r X − E_p X), the second derivative Σ w (Cov_r X − Cov_p X).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

STEPS = 50


@dataclass(frozen=True)
class Pull:
    """Where the weights are pulled to, how strongly, and where the search starts."""

    centre: Tensor  # [J]
    ridge: float
    start: Tensor | None = None  # [J], the centre where there is none


def fit_logit(columns: Tensor, evidence: Tensor, weights: Tensor, pull: Pull) -> Tensor:
    """Return θ [J] for columns X [n, K, J], evidence E [n, K] and row weights w [n]."""
    columns, centre, ridge = columns.contiguous(), pull.centre, pull.ridge
    theta = centre.clone() if pull.start is None else pull.start.clone()
    value = objective(columns, evidence, weights, theta) - ridge / 2 * float((theta - centre).square().sum())
    for _ in range(STEPS):
        gradient, expected, hidden = derivatives(columns, evidence, weights, theta)
        step = _solve(expected, hidden, gradient - ridge * (theta - centre), ridge)
        size = 1.0
        while size > 1e-6:
            candidate = theta + size * step
            penalty = ridge / 2 * float((candidate - centre).square().sum())
            found = objective(columns, evidence, weights, candidate) - penalty
            if found >= value:
                break
            size /= 2
        else:
            break
        theta, value = candidate, found
        if float((size * step).abs().max()) < 1e-8:
            break
    return theta


def objective(columns: Tensor, evidence: Tensor, weights: Tensor, theta: Tensor) -> float:
    """Return Σ_i w_i log Σ_k p_ik e^{E_ik}."""
    log_p = torch.log_softmax(columns @ theta, dim=1)
    return float((weights * torch.logsumexp(log_p + evidence, dim=1)).sum())


def derivatives(columns: Tensor, evidence: Tensor, weights: Tensor, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradient [J], Σ w Cov_p X [J, J] and Σ w Cov_r X [J, J]."""
    logits = columns @ theta
    mean_p, covariance_p = _moments(columns, torch.softmax(logits, dim=1), weights)
    mean_r, covariance_r = _moments(columns, torch.softmax(logits + evidence, dim=1), weights)
    return (weights[:, None] * (mean_r - mean_p)).sum(0), covariance_p, covariance_r


def _moments(columns: Tensor, p: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    mean = torch.einsum("nk,nkj->nj", p, columns)
    scaled = columns * (weights[:, None] * p).unsqueeze(-1)
    second = scaled.flatten(0, 1).T @ columns.flatten(0, 1)
    return mean, second - (weights[:, None] * mean).T @ mean


def _solve(expected: Tensor, hidden: Tensor, gradient: Tensor, ridge: float) -> Tensor:
    """Take Newton's step, or the smaller one of expectation-maximisation where the function is not concave."""
    eye = torch.eye(len(gradient), dtype=gradient.dtype, device=gradient.device)
    floor = ridge + 1e-9 * float(expected.diagonal().max()) + 1e-12
    factor, fault = torch.linalg.cholesky_ex(expected - hidden + floor * eye)
    if int(fault):
        factor = torch.linalg.cholesky(expected + floor * eye)
    return torch.cholesky_solve(gradient[:, None], factor)[:, 0]
