"""The forward-corrected stack: blocks of scores for the given label become a belief about the true one.

p_i = softmax(Σ_m S_m,i A_m + b) and T are learned together by the likelihood of the given labels alone,

    Σ_i log Σ_k p_i[k] T[k, g_i] + Σ_kc P[k, c] log T[k, c] − ρ/2 (Σ_m |A_m − a_m V|² + |b − b₀|²),

S centred and scaled, V = (0.9 T₀ + 0.1 I)⁻¹ the backward correction, a_m all but free, b₀ the log shares of the
classes, P what the trusted rows say of T. With r_i[k] ∝ p_i[k] T[k, g_i] the gradient is Σ S_i (r_i − p_i) in A and,
in the logits of T, R − diag(Σ_c R) T with R = Σ r_i ⊗ g_i + P (forward correction: Patrini et al., CVPR 2017; here T
is learned too).
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import fmin_l_bfgs_b
from torch import Tensor

from stages.linear.narrow import log_softmax, softmax
from stages.purify.transition import one_hot

FREE_CLASSES = 100  # above that A_m is a multiple of I: the labels do not tell K² weights a block
LOOSE = 0.1  # precision of a_m: so that classes that are quite apart do not send it to infinity
TURNS, MATRIX_STEPS = 3, 5  # of weights and T, and of T in each
CURVATURE = 0.1  # of p(1 − p): what the search takes for the second derivative of the likelihood


@dataclass(frozen=True)
class Prior:
    """What is known before any given label is read."""

    pairs: Tensor  # [K, K]: P, counts of (true, given) and what they are shrunk to
    matrix: Tensor  # [K, K]: T where the search starts
    log_shares: Tensor  # [K]: b₀
    fixed: bool  # T is not learned


@dataclass(frozen=True)
class Stack:
    """The fitted weights, T, and how to go on from them."""

    centre: Tensor  # [M, K]
    scale: Tensor  # [M]
    weights: Tensor  # [M, K, K], or [M] where each A_m is a multiple of I
    bias: Tensor  # [K]
    log_matrix: Tensor  # [K, K]: log T

    def log_beliefs(self, blocks: Tensor) -> Tensor:
        """Turn blocks [M, n, K] into log p [n, K]."""
        scaled = (blocks - self.centre[:, None]) / self.scale[:, None, None]
        if self.weights.dim() == 1:
            logits = (self.weights @ scaled.flatten(1)).view(scaled.shape[1:])
        else:
            logits = torch.einsum("mnj,mjk->nk", scaled, self.weights)
        return log_softmax(logits + self.bias)

    def posterior(self, log_beliefs: Tensor, given: Tensor) -> Tensor:
        """Return r [n, K]: the belief once the given labels [n] are seen (−1: none)."""
        evidence = self.log_matrix.T[given.clamp_min(0)] * (given >= 0)[:, None]
        return softmax(log_beliefs + evidence)


@dataclass(frozen=True)
class Search:
    """How the likelihood is climbed."""

    ridge: float  # ρ: a precision, so that many rows may say more than few
    steps: int
    start: Stack | None = None


def fit_stack(blocks: Tensor, given: Tensor, prior: Prior, search: Search) -> Stack:
    """Fit the stack to blocks [M, n, K] of rows with given labels [n].

    Of many classes weights and T take turns: together they would be K² numbers to search among.
    """
    problem = _Problem(blocks, given, search.ridge)
    if prior.fixed or problem.free:
        return _climb(problem, prior, search)
    stack = search.start
    held = prior if stack is None else replace(prior, matrix=stack.log_matrix.exp().to(prior.matrix.dtype))
    for _ in range(TURNS):
        part = replace(search, steps=math.ceil(search.steps / TURNS), start=stack)
        stack = _climb(problem, replace(held, fixed=True), part)
        log_matrix = fit_matrix(problem.log_beliefs(stack), given, replace(held, fixed=False), MATRIX_STEPS)
        stack = replace(stack, log_matrix=log_matrix)
        held = replace(held, matrix=log_matrix.exp().to(held.matrix.dtype))
    assert stack is not None  # TURNS ≥ 1
    return stack


def _climb(problem: "_Problem", prior: Prior, search: Search) -> Stack:
    problem.suppose(prior)
    found, _, _ = fmin_l_bfgs_b(
        problem.value_and_gradient, problem.first(search.start), maxiter=search.steps, m=12, factr=1e5, pgtol=1e-7
    )
    return problem.stack(torch.from_numpy(found).to(problem.flat.device))


class _Problem:
    """The negative mean likelihood as a function of one vector: weights (whitened), bias, logits of T."""

    def __init__(self, blocks: Tensor, given: Tensor, ridge: float) -> None:
        self.given = given
        self.blocks, self.rows, self.classes = blocks.shape
        self.centre = blocks.mean(1)
        centred = blocks - self.centre[:, None]
        self.scale = centred.square().mean(dim=(1, 2)).sqrt().clamp_min(1e-12)
        centred /= self.scale[:, None, None]
        self.ridge, self.free = ridge / self.rows, self.classes <= FREE_CLASSES
        if self.free:
            self.flat = centred.permute(1, 0, 2).reshape(self.rows, -1)  # [n, M K]
            self.whitening, self.unwhitening = _whiten(self.flat, self.ridge)
        else:
            self.flat = centred.transpose(1, 2).reshape(self.blocks, -1)  # [M, K n]

    def suppose(self, prior: Prior) -> None:
        """Take what is known of T and the classes."""
        self.prior, dtype = prior, self.flat.dtype
        self.pairs = prior.pairs.to(dtype) / self.rows
        self.log_shares = prior.log_shares.to(dtype)
        self.held = self.likely = None
        if prior.fixed:
            self.held = prior.matrix.log().to(dtype)  # log T
            self.likely = self.held.exp()[:, self.given]
        else:
            self.seen = one_hot(self.given, self.classes, dtype).T.contiguous()  # [K, n]
        if self.free:
            eye = torch.eye(self.classes, dtype=torch.float64, device=self.flat.device)
            self.inverse = torch.linalg.inv(0.9 * prior.matrix + 0.1 * eye).to(dtype)

    def first(self, start: Stack | None) -> npt.NDArray[np.float64]:
        """Return where the search starts: at an earlier stack, or at the inverse of T."""
        if start is not None:
            weights, bias, logits = start.weights, start.bias, start.log_matrix
        else:
            weights, bias = self._correction(), self.log_shares
            logits = self.prior.matrix.log().to(weights.dtype)
        weights = self.unwhitening @ weights.reshape(-1, self.classes) if self.free else weights
        parts = [weights, bias] if self.prior.fixed else [weights, bias, logits]
        return torch.cat([p.flatten() for p in parts]).double().cpu().numpy()

    def _correction(self) -> Tensor:
        """Return the backward correction, shared by all blocks."""
        share = self.flat.new_full((self.blocks,), 1 / (2 * self.blocks))
        return share[:, None, None] * self.inverse if self.free else share

    def stack(self, vector: Tensor) -> Stack:
        """Name the parts of a vector."""
        vector = vector.to(self.flat.dtype)
        count = self.blocks * self.classes**2 if self.free else self.blocks
        weights, bias = vector[:count], vector[count : count + self.classes]
        if self.free:
            weights = (self.whitening @ weights.view(-1, self.classes)).view(self.blocks, self.classes, self.classes)
        log_matrix = self.held
        if log_matrix is None:
            log_matrix = torch.log_softmax(vector[count + self.classes :].view(self.classes, self.classes), dim=1)
        return Stack(self.centre, self.scale, weights, bias, log_matrix)

    def value_and_gradient(self, vector: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        """Return the negative objective, divided by the number of rows, and its gradient."""
        stack = self.stack(torch.from_numpy(vector).to(self.flat.device))
        p = torch.softmax(self._logits(stack), dim=0)
        r = p * (stack.log_matrix.exp() @ self.seen if self.likely is None else self.likely)
        total = r.sum(0).clamp_min(1e-30)
        r /= total
        value = -float(total.log().double().sum()) / self.rows - float((self.pairs * stack.log_matrix).double().sum())
        penalty, d_weights, d_bias = self._penalty(stack)
        gap = p.sub_(r).div_(self.rows)  # in place: fresh memory for so many numbers costs more than the sums
        pull = self._pull(gap) + d_weights
        parts = [self.whitening.T @ pull.view(-1, self.classes) if self.free else pull, gap.sum(1) + d_bias]
        if not self.prior.fixed:
            counts = r @ self.seen.T / self.rows + self.pairs
            parts.append(counts.sum(1, keepdim=True) * stack.log_matrix.exp() - counts)
        return value + penalty, torch.cat([p.flatten() for p in parts]).double().cpu().numpy()

    def log_beliefs(self, stack: Stack) -> Tensor:
        """Return log p [n, K] of these rows."""
        return torch.log_softmax(self._logits(stack), dim=0).T

    def _logits(self, stack: Stack) -> Tensor:
        """Return the logits of p, side by side: [K, n]."""
        if self.free:
            return torch.addmm(stack.bias[:, None], stack.weights.view(-1, self.classes).T, self.flat.T)
        return (stack.weights @ self.flat).view(-1, self.rows).add_(stack.bias[:, None])

    def _pull(self, gap: Tensor) -> Tensor:
        if self.free:
            return (gap @ self.flat).T.reshape(self.blocks, self.classes, self.classes)
        return self.flat @ gap.flatten()

    def _penalty(self, stack: Stack) -> tuple[float, Tensor, Tensor]:
        """Return the penalty and its gradients: what is no multiple of V is pulled, the bias, and loosely the rest."""
        along, apart, shift = torch.zeros_like(stack.weights), stack.weights, stack.bias - self.log_shares
        if self.free:
            share = (stack.weights * self.inverse).sum(dim=(1, 2)) / self.inverse.square().sum()
            along = share[:, None, None] * self.inverse
            apart = stack.weights - along
        else:
            along, apart = apart, along
        ridge, loose = self.ridge, LOOSE / self.rows
        value = ridge * float(apart.square().sum() + shift.square().sum()) + loose * float(along.square().sum())
        return value / 2, ridge * apart + loose * along, ridge * shift


def _whiten(flat: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """Return R [D, D] with R Rᵀ the inverse second derivative of a flat likelihood, and R⁻¹: a change of variables."""
    second = (flat.T @ flat).double() * (CURVATURE / len(flat))
    second.diagonal().add_(ridge + 1e-4)
    factor = torch.linalg.cholesky(second)
    return torch.linalg.inv(factor).T.contiguous().to(flat.dtype), factor.T.contiguous().to(flat.dtype)


def fit_matrix(log_beliefs: Tensor, given: Tensor, prior: Prior, steps: int) -> Tensor:
    """Learn log T [K, K] by expectation-maximisation from beliefs [n, K] that stand still."""
    if prior.fixed:
        return prior.matrix.log().to(log_beliefs.dtype)
    p = log_beliefs.exp().contiguous()
    matrix, pairs = prior.matrix.to(p.dtype), prior.pairs.to(p.dtype)
    for _ in range(steps):
        joint = p * matrix.T[given]
        joint /= joint.sum(1, keepdim=True).clamp_min(1e-30)
        counts = torch.zeros_like(matrix).index_add_(0, given, joint).T + pairs
        matrix = counts / counts.sum(1, keepdim=True)
    return matrix.clamp_min(1e-12).log()
