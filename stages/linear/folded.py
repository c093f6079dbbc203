"""Ridge regression in closed form, each fold of rows scored by a fit that saw no target of that fold.

W_f = (sG + λB)⁻¹ Σ_{i ∉ f} x_i (Q_i − q̄_f)ᵀ with x centred and B the norm that is held down. Only the moments hold
targets, so one Gram matrix G, made of a part of the rows and scaled to the size of the fit, serves every fold. Leaving
out single rows instead is no substitute where a stack is fitted to the scores: what a smooth score without row i lacks
against those of other rows is row i's own target, and a free stack learns to read that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.linear.design import CHUNK, working_dtype

ROUNDING = 1e-5  # of the mean diagonal
ROWS_A_COLUMN = 10  # rows that G is made of, for each of its columns


@dataclass(frozen=True)
class Folded:
    """The part of the regressions that no target changes."""

    rows: Tensor  # [N, r], centred, as stored, in the order of their folds
    place: Tensor  # [N] long: where each row is stored
    members: tuple[Tensor, ...]  # the taught rows of each fold
    fold: Tensor  # [N] long
    sums: Tensor  # [F, r]: of the members
    factors: Tensor  # [M, r, r]: Cholesky factors of sG + λB, M penalties

    def weights(self, targets: Tensor) -> "Weights":
        """Regress targets [N, K] once for each fold and penalty."""
        moments = torch.stack([self._moments(one, targets) for one in self.members])  # [F, r, K]
        totals = torch.stack([targets[one].double().sum(0) for one in self.members]).to(moments.dtype)
        counts = moments.new_tensor([len(one) for one in self.members])
        mean = (totals.sum(0) - totals) / (counts.sum() - counts).clamp_min(1)[:, None]
        centred = moments.sum(0) - moments - (self.sums.sum(0) - self.sums)[:, :, None] * mean[:, None]
        folds, width, classes = centred.shape
        columns = centred.permute(1, 0, 2).reshape(1, width, folds * classes)
        solved = torch.cholesky_solve(columns.expand(len(self.factors), -1, -1), self.factors)
        return Weights(solved.view(-1, width, folds, classes).permute(2, 0, 1, 3).contiguous(), mean)

    def _moments(self, index: Tensor, targets: Tensor) -> Tensor:
        total = self.sums.new_zeros(targets.shape[1], self.rows.shape[1])
        for here in torch.split(index, CHUNK):
            total += targets[here].to(total.dtype).T @ _take(self.rows, self.place[here]).to(total.dtype)
        return total.T

    def scores(self, index: Tensor, weights: "Weights") -> Tensor:
        """Score rows [n] by the fits that saw no target of their folds: [M, n, K]."""
        folds, penalties, width, classes = weights.values.shape
        result = self.sums.new_empty(len(index), penalties, classes)
        place = self.fold[index]
        for fold in range(folds):
            side_by_side = weights.values[fold].permute(1, 0, 2).reshape(width, penalties * classes)
            for here in torch.split(torch.where(place == fold)[0], CHUNK):
                found = _take(self.rows, self.place[index[here]]).to(result.dtype) @ side_by_side
                result[here] = found.view(-1, penalties, classes) + weights.mean[fold]
        return result.permute(1, 0, 2)


@dataclass(frozen=True)
class Weights:
    """What a target makes of the regressions."""

    values: Tensor  # [F, M, r, K]
    mean: Tensor  # [F, K]: the mean target outside the fold


def order_of(fold: Tensor, taught: Tensor) -> Tensor:
    """Return the order [N] in which the taught rows [n] of each fold lie side by side: they are read as they lie."""
    teaches = torch.zeros_like(fold).index_fill_(0, taught, 1)
    return (2 * fold - teaches).argsort(stable=True)


def fit_folded(
    features: tuple[Tensor, Tensor], order: Tensor, taught: Tensor, fold: Tensor, strengths: Sequence[float]
) -> Folded:
    """Prepare regressions on the taught rows [n] for any target.

    `features` are rows [N, r] in the given order and the norm B [r, r]; the rows are centred where they lie. λ is a
    multiple of the mean eigenvalue of G seen from B; G is made of the first of the taught rows.
    """
    rows, norm = features
    place = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    dtype, few = working_dtype(rows), place[taught[: ROWS_A_COLUMN * rows.shape[1]]].sort().values
    mean = sum((rows[here].double().sum(0) for here in torch.split(few, CHUNK)), torch.zeros(())) / max(len(few), 1)
    for part in torch.split(rows, CHUNK):
        part.copy_(part.to(dtype) - mean.to(dtype))
    gram = torch.zeros_like(norm)
    for here in torch.split(few, CHUNK):
        part = rows[here].to(dtype)
        gram += part.T @ part
    folds = int(fold.max()) + 1 if len(fold) else 1
    gram *= len(taught) * (1 - 1 / folds) / max(len(few), 1)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(norm))
    level = max(float((inverse * gram).sum()) / len(norm), 1e-12)
    factors = torch.stack([_factor(gram + s * level * norm).to(dtype) for s in strengths])
    stored = order[torch.isin(order, taught)]
    members = tuple(stored[fold[stored] == f] for f in range(folds))
    return Folded(rows, place, members, fold, torch.stack([_sum(rows, place[one]) for one in members]), factors)


def _take(rows: Tensor, places: Tensor) -> Tensor:
    """Return some rows, without a copy where they lie side by side."""
    if len(places) and bool((places[1:] - places[:-1] == 1).all()):
        return rows[int(places[0]) : int(places[-1]) + 1]
    return rows[places]


def _factor(matrix: Tensor) -> Tensor:
    """Return the Cholesky factor of a matrix that single precision can still solve, however many rows repeat."""
    matrix.diagonal().add_(ROUNDING * float(matrix.diagonal().mean()))
    factor: Tensor = torch.linalg.cholesky(matrix)
    return factor


def _sum(rows: Tensor, index: Tensor) -> Tensor:
    total = rows.new_zeros(rows.shape[1], dtype=torch.float64)
    for here in torch.split(index, CHUNK):
        total += _take(rows, here).sum(0, dtype=torch.float64)
    return total.to(working_dtype(rows))
