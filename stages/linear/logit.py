"""A logit with few weights whose outcome may be hidden: Newton's method with the exact second derivative.

Maximise Σ_i w_i log Σ_k softmax(X_i θ + O_i)_k e^{E_ik} − ρ/2 |θ − θ₀|². E is the log-likelihood of what was seen, were
the class k; where the class is known, E is 0 there and −∞ elsewhere, and this is the conditional logit (McFadden 1974).
O is known and added as it is. With p = softmax(Xθ + O) and r ∝ p e^E the gradient is Σ w (E_r X − E_p X), the second
derivative Σ w (Cov_r X − Cov_p X).
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


@dataclass(frozen=True)
class Rows:
    """What the function is made of."""

    columns: Tensor  # [n, K, J]
    evidence: Tensor  # [n, K]
    weights: Tensor  # [n]
    offset: Tensor | float  # [n, K]

    def logits(self, theta: Tensor) -> Tensor:
        """Return the logits of weights θ [J]: [n, K]."""
        return self.columns @ theta + self.offset


def fit_logit(columns: Tensor, evidence: Tensor, weights: Tensor, pull: Pull, offset: Tensor | float = 0.0) -> Tensor:
    """Return θ [J] for columns X [n, K, J], evidence E [n, K], row weights w [n] and offset O [n, K]."""
    rows, centre, ridge = Rows(columns.contiguous(), evidence, weights, offset), pull.centre, pull.ridge
    theta = centre.clone() if pull.start is None else pull.start.clone()
    value = objective(rows, theta) - ridge / 2 * float((theta - centre).square().sum())
    for _ in range(STEPS):
        gradient, expected, hidden = derivatives(rows, theta)
        step = _solve(expected, hidden, gradient - ridge * (theta - centre), ridge)
        size = 1.0
        while size > 1e-6:
            candidate = theta + size * step
            penalty = ridge / 2 * float((candidate - centre).square().sum())
            found = objective(rows, candidate) - penalty
            if found >= value:
                break
            size /= 2
        else:
            break
        theta, value = candidate, found
        if float((size * step).abs().max()) < 1e-8:
            break
    return theta


def objective(rows: Rows, theta: Tensor) -> float:
    """Return Σ_i w_i log Σ_k p_ik e^{E_ik}."""
    log_p = torch.log_softmax(rows.logits(theta), dim=1)
    return float((rows.weights * torch.logsumexp(log_p + rows.evidence, dim=1)).sum())


def derivatives(rows: Rows, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradient [J], Σ w Cov_p X [J, J] and Σ w Cov_r X [J, J]."""
    logits = rows.logits(theta)
    mean_p, covariance_p = _moments(rows.columns, torch.softmax(logits, dim=1), rows.weights)
    mean_r, covariance_r = _moments(rows.columns, torch.softmax(logits + rows.evidence, dim=1), rows.weights)
    return (rows.weights[:, None] * (mean_r - mean_p)).sum(0), covariance_p, covariance_r


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
