"""Ridge regression in closed form, with exact leave-one-out scores.

With centred rows x_i, eigenpairs (w, V) of XᵀX and penalty λ·mean(w): W = V diag(1/(w+λ)) Vᵀ Xᵀ(Q − q̄),
h_i = Σ_j (x_i·V_j)²/(w_j+λ) + 1/n, and the score of row i by the fit without row i is
(x_i·W − h_i (Q_i − q̄)) / (1 − h_i) + q̄.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.linear.design import CHUNK, working_dtype


@dataclass(frozen=True)
class Ridge:
    """The part of a ridge regression that no target changes."""

    rows: Tensor  # [N, d], as stored
    taught: Tensor  # [N] bool: the rows that the fit is made of
    mean: Tensor  # [d]
    vectors: Tensor  # [d, r]
    values: Tensor  # [r] float64: w
    inverses: Tensor  # [M, r]: 1 / (w + λ) of each strength
    leverage: Tensor  # [M, N]: h_i, and 0 for rows outside the fit

    @property
    def strengths(self) -> int:
        """Return the number of penalties M."""
        return len(self.inverses)

    def take(self, index: Tensor | slice) -> Tensor:
        """Return some centred rows [n, d]."""
        return self.rows[index].to(self.mean.dtype) - self.mean

    def weights(self, moments: Tensor) -> Tensor:
        """Turn moments Xᵀ(Q − q̄) [d, C] into weights [M, d, C]."""
        rotated = self.vectors.T @ moments
        return torch.stack([self.vectors @ (inverse[:, None] * rotated) for inverse in self.inverses])

    def leave_one_out(self, index: Tensor, weights: Tensor, target: Tensor, mean: Tensor) -> Tensor:
        """Score rows [n] by fits without them: weights [M, d, C], own targets [n, C], mean target [C] → [M, n, C]."""
        scores = self.take(index) @ weights
        h = self.leverage[:, index, None]
        return (scores - h * (target - mean)) / (1 - h) + mean


def fit_ridge(rows: Tensor, taught: Tensor, strengths: Sequence[float]) -> Ridge:
    """Prepare ridge regressions on the taught rows [N, d] for any target; λ is a multiple of the mean eigenvalue."""
    dtype = working_dtype(rows)
    mean = _mean(rows, taught).to(dtype)
    values, vectors = _eigen(rows, taught, mean)
    level = float(values[values > 1e-9 * values.max().clamp_min(1e-30)].mean()) if bool((values > 0).any()) else 1.0
    inverses = torch.stack([1 / (values + s * level) for s in strengths]).to(dtype)
    ridge = Ridge(
        rows, taught, mean, vectors.to(dtype), values, inverses, inverses.new_zeros(len(strengths), len(rows))
    )
    count = max(int(taught.sum()), 1)
    for start in range(0, len(rows), CHUNK):
        here = slice(start, start + CHUNK)
        squares = (ridge.take(here) @ ridge.vectors).square_()
        leverage = (inverses @ squares.T + 1 / count).clamp_(max=1 - 1e-4)
        ridge.leverage[:, here] = leverage * taught[here]
    return ridge


def _mean(rows: Tensor, taught: Tensor) -> Tensor:
    total = rows.new_zeros(rows.shape[1], dtype=torch.float64)
    for part, mask in zip(torch.split(rows, CHUNK), torch.split(taught, CHUNK), strict=True):
        total += part[mask].double().sum(0)
    return total / max(int(taught.sum()), 1)


def _eigen(rows: Tensor, taught: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Decompose XᵀX by streaming, or XXᵀ where there are fewer rows than columns; float64."""
    if int(taught.sum()) < rows.shape[1]:
        centred = rows[taught].double() - mean.double()
        values, left = torch.linalg.eigh(centred @ centred.T)
        values = values.clamp_min(0)
        kept = values > 1e-10 * values.max().clamp_min(1e-30) if len(values) else values > 0
        return values[kept], centred.T @ left[:, kept] / values[kept].sqrt()
    gram = mean.new_zeros(len(mean), len(mean), dtype=torch.float64)
    for part, mask in zip(torch.split(rows, CHUNK), torch.split(taught, CHUNK), strict=True):
        centred = part[mask].to(mean.dtype) - mean
        gram += centred.T @ centred
    values, vectors = torch.linalg.eigh(gram)
    return values.clamp_min(0), vectors
