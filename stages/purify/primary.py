"""DMLP's intrinsic primary correction: the loss of trusted rows as a function of all labels, in closed form.

With C = [(x − x̄) V, 1], V and w the eigenpairs of the centred Gram matrix, and D = diag(1 / (w + λ), 1 / n), ridge
regression on labels Y is W = D Cᵀ Y. For a loss L of predictions C W the exact gradient is ∂L/∂Y = C D ∂L/∂W, and
what a step ΔY = −C Δ does to W is −S Δ with S = D CᵀC = diag(w / (w + λ), 1): a recursion that knows no rows.
L = mean CE(P_v, y_v) + mean |P_v − onehot y_v|² + KL(π ‖ mean softmax P), each a mean, so that none is decoration.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.linear.design import CHUNK
from stages.linear.ridge import Ridge
from stages.purify.bundle import score

TINY = 1e-12
HELD_OUT = 5  # every fifth trusted row of a fit is held out


@dataclass(frozen=True)
class Axes:
    """Rows along the eigenvectors of a ridge regression with one penalty, and a constant."""

    ridge: Ridge
    scale: Tensor  # [r + 1] float64: D
    shrink: Tensor  # [r + 1] float64: S

    def see(self, rows: Tensor) -> Tensor:
        """Return C for some rows [n, r + 1], in float64."""
        seen = (self.ridge.take(rows) @ self.ridge.vectors).double()
        return torch.cat([seen, seen.new_ones(len(rows), 1)], dim=1)

    def head(self, coefficients: Tensor) -> dict[str, Tensor]:
        """Turn coefficients [H, r + 1, K] into a head on centred rows."""
        dtype = self.ridge.mean.dtype
        return {"weight": self.ridge.vectors @ coefficients[:, :-1].to(dtype), "bias": coefficients[:, -1:].to(dtype)}

    def apply(self, coefficients: Tensor, rows: Tensor) -> Tensor:
        """Return C Δ for coefficients Δ [H, r + 1, K] and some rows: [H, n, K]."""
        return score(self.head(coefficients), self.ridge.take(rows))

    def moments(self, parts: Iterator[tuple[Tensor, Tensor]]) -> Tensor:
        """Sum Cᵀ Y over parts of the taught rows, (rows [n], Y [H, n, K]) each: [H, r + 1, K]."""
        total = self.scale.new_zeros(())
        for rows, labels in parts:
            inputs, flat = self.ridge.take(rows), labels.transpose(1, 2).flatten(0, 1)
            total = total + torch.cat([flat @ inputs, flat.sum(1, keepdim=True)], dim=1).double()
            fits = len(labels)
        seen = torch.cat([total[:, :-1] @ self.ridge.vectors.double(), total[:, -1:]], dim=1)
        return seen.view(fits, len(seen) // fits, -1).transpose(1, 2)

    def parts(self) -> Iterator[Tensor]:
        """Go through the taught rows."""
        yield from torch.split(torch.where(self.ridge.taught)[0], CHUNK)


def axes_of(ridge: Ridge) -> Axes:
    """Read the axes off a ridge regression with one penalty."""
    inverse = ridge.inverses[0].double()
    one = inverse.new_ones(1)
    count = max(int(ridge.taught.sum()), 1)
    return Axes(ridge, torch.cat([inverse, one / count]), torch.cat([ridge.values * inverse, one]))


@dataclass(frozen=True)
class Lesson:
    """What trusted rows teach labels in each fit, and which are held out to end it in time."""

    seen: Tensor  # [V, r + 1] float64
    truth: Tensor  # [V, K] float64: one-hot
    teach: Tensor  # [H, V] float64: shares of the rows that teach, adding up to 1, or 0 where there are none
    held: Tensor  # [H, V] float64: shares of the held-out rows
    others: Tensor  # [S, r + 1] float64: rows whose predictions should follow the class shares
    prior: Tensor  # [K] float64

    def errors(self, weights: Tensor, shares: Tensor) -> Tensor:
        """Return the mean cross-entropy and squared error of rows under W [H, r + 1, K]: [H]."""
        found = self.seen @ weights
        entropy = -(self.truth * torch.log_softmax(found, dim=-1)).sum(-1)
        return (shares * (entropy + (found - self.truth).square().sum(-1))).sum(1)

    def loss(self, weights: Tensor) -> Tensor:
        """Return L summed over the fits that have teachers."""
        mean = torch.softmax(self.others @ weights, dim=-1).mean(1)
        away = (self.prior * (self.prior.clamp_min(TINY).log() - mean.log())).sum(1)
        return (self.errors(weights, self.teach) + away * self.teach.sum(1)).sum()

    def gradient(self, weights: Tensor) -> Tensor:
        """Return ∂L/∂W [H, r + 1, K]."""
        with torch.no_grad():
            result: Tensor = torch.func.grad(self.loss)(weights)
            return result

    def steepness(self, axes: Axes) -> Tensor:
        """Bound how fast the gradient of each fit changes along the label steps that it asks for [H]."""
        pull = (axes.scale * axes.shrink).sqrt()
        largest = [
            torch.linalg.matrix_norm(share.sqrt()[:, None] * self.seen * pull, 2).square() for share in self.teach
        ]
        spread = torch.linalg.matrix_norm(self.others * pull, 2).square() / max(len(self.others), 1)
        bound: Tensor = (2.5 * torch.stack(largest) + spread).clamp_min(TINY)
        return bound

    def right(self, scores: Tensor, fit: int = 0) -> float | None:
        """Return the share of the held-out rows of a fit that scores [V, K] get right."""
        held = self.held[fit] > 0
        if not bool(held.any()):
            return None
        return float((scores.argmax(1) == self.truth.argmax(1))[held].double().mean())


def split_known(known: Tensor) -> tuple[Tensor, Tensor]:
    """Hold out every fifth of the rows that each fit knows [H, V]: shares that teach, shares held out."""
    held = known & (known.long().cumsum(1) % HELD_OUT == 0)
    teach = known & ~held & held.any(1, keepdim=True)
    return _shares(teach), _shares(held)


def _shares(mask: Tensor) -> Tensor:
    return mask.double() / mask.sum(1, keepdim=True).clamp_min(1)
