"""The forward-corrected softmax: turn blocks of scores for the given label into a belief about the true one.

p_i = softmax(Σ_m τ_m (S_m,i − S̄_m)(0.9 T + 0.1 I)⁻¹ / sd_m + τ_0 log π), with τ maximising
Σ_untrusted log Σ_k p_i[k] T[k, g_i] + Σ_trusted log p_i[y_i] (forward correction, Patrini et al., CVPR 2017):
one number for each block and one for the class shares π, so nothing can be memorised.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.linear.logit import Pull, fit_logit
from stages.linear.narrow import log_softmax
from stages.purify.prior import class_shares
from stages.purify.targets import Targets
from stages.purify.transition import Transition, one_hot


@dataclass(frozen=True)
class Head:
    """The weights of the blocks."""

    weights: Tensor  # [M + 1]: τ
    scales: Tensor  # [M]: τ_m / sd_m
    bias: Tensor  # [K]
    unmixing: Tensor | None  # [K, K], or None where the noise is symmetric and unmixing changes no order

    def log_beliefs(self, blocks: Tensor) -> Tensor:
        """Turn blocks [M, n, K] into log-probabilities [n, K]."""
        scores = torch.einsum("m,mnk->nk", self.scales, blocks)
        scores = scores if self.unmixing is None else scores @ self.unmixing
        return log_softmax(scores + self.bias)


def fit_heads(blocks: Iterator[Tensor], rows: Tensor, targets: Sequence[Targets]) -> list[Head]:
    """Fit the head of every view to its blocks [M, n, K] of some rows [n]; each starts where the one before ended."""
    heads: list[Head] = []
    for block, target in zip(blocks, targets, strict=True):
        start = heads[-1].weights if heads else None
        known = (target.given[rows], target.trusted[rows])
        heads.append(fit_head(block, known, target.transition, target.offset, start))
    return heads


def fit_head(
    blocks: Tensor, labels: tuple[Tensor, Tensor], transition: Transition, offset: Tensor, start: Tensor | None = None
) -> Head:
    """Weigh blocks [M, n, K] by given labels [n] and, where known, by trusted ones [n], under T; -1 = unknown.

    offset: how much likelier each class is among trusted rows, in logs [K].
    """
    given, trusted = labels
    unmixing = _unmixing(transition)
    scores, labelled = blocks.double(), (given >= 0) | (trusted >= 0)
    spread = scores.std(dim=(1, 2), correction=0).clamp_min(1e-12)
    scores = scores / spread[:, None, None]
    scores = scores if unmixing is None else scores @ unmixing
    centre = scores.mean(1)
    shares = class_shares(_counts(given, trusted, transition), transition).log()
    shares = shares - shares.mean()
    columns = torch.cat([scores - centre[:, None], shares.expand(1, len(given), -1)]).permute(1, 2, 0)
    pull = Pull(columns.new_tensor([1 / len(blocks)] * len(blocks) + [1.0]), 1.0, start)
    evidence = _evidence(given, trusted, transition)
    drawn = offset * (trusted[labelled] >= 0)[:, None]
    theta = fit_logit(columns[labelled], evidence[labelled], columns.new_ones(int(labelled.sum())), pull, drawn)
    bias = theta[-1] * shares - theta[:-1] @ centre
    kept = None if unmixing is None else unmixing.to(blocks.dtype)
    return Head(theta, (theta[:-1] / spread).to(blocks.dtype), bias.to(blocks.dtype), kept)


def _counts(given: Tensor, trusted: Tensor, transition: Transition) -> Tensor:
    """Count given labels [K], expected ones where the trusted label is known."""
    plain = one_hot(torch.where(trusted < 0, given, -1), transition.classes, torch.float64)
    return plain.sum(0) + transition.push(one_hot(trusted, transition.classes, torch.float64)).sum(0)


def _evidence(given: Tensor, trusted: Tensor, transition: Transition) -> Tensor:
    """Return the log-likelihood of what is known about each row, were its class k [n, K]."""
    evidence = transition.log_evidence(given, torch.float64)
    known = one_hot(trusted, transition.classes, torch.float64).log()
    return torch.where(trusted[:, None] >= 0, known, evidence)


def _unmixing(transition: Transition) -> Tensor | None:
    if transition.symmetric:
        return None
    matrix: Tensor = transition.matrix
    inverse: Tensor = torch.linalg.inv(
        0.9 * matrix + 0.1 * torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    )
    return inverse
