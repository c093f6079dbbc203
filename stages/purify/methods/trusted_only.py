"""Learn from the trusted rows alone: kernel ridge regression, each trusted row scored by the fit without it.

With k(u, v) = exp(−|u − v|²/2), G = (K + λI)⁻¹, α = G(Y − 1/K): s(x) = k(x, ·) α, and without itself a trusted row has
Y_i − 1/K − α_i / G_ii. Without the rows F of a fold, α becomes α − G_F G_FF⁻¹ α_F and G becomes G − G_F G_FF⁻¹ G_Fᵀ, so
one inverse serves every view. p = softmax(τ s) among the classes that have trusted rows; the others keep their share.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.linear.logit import Pull, fit_logit
from stages.purify.config import TrustedOnlyOptions
from stages.purify.prior import Prior
from stages.purify.sample import Views, few_rows
from stages.purify.scores import Scores
from stages.purify.transition import one_hot


@dataclass(frozen=True)
class Expert:
    """The kernel ridge regression of one view."""

    alpha: Tensor  # [V, K], 0 for rows that the view does not know
    alone: Tensor  # [V, K]: each known row's score by the fit without it
    known: Tensor  # [V] bool
    sharpness: float  # τ
    bias: Tensor  # [K]: from the mix of classes among trusted rows to that of all
    unseen: Tensor  # [K] log-share of classes without a trusted row, −inf of the others


@dataclass(frozen=True)
class TrustedOnly:
    """The trusted rows that teach, and what is learned from them in every view."""

    rows: Tensor  # [N, d]: unit rows with their neighbours' mean
    centres: Tensor  # [V, d]
    place: Tensor  # [N] position among the centres, -1 for other rows
    experts: Sequence[Expert]

    def beliefs(self, rows: Tensor, view: int) -> Tensor:
        """Return log-probabilities [n, K]."""
        expert = self.experts[view]
        scores = kernel(self.rows[rows].to(self.centres.dtype), self.centres) @ expert.alpha.to(self.centres.dtype)
        place = self.place[rows]
        own = torch.where(place >= 0)[0]
        own = own[expert.known[place[own]]]
        scores[own] = expert.alone[place[own]].to(scores.dtype)
        return log_beliefs(scores, expert)


def kernel(rows: Tensor, centres: Tensor) -> Tensor:
    """Return exp(−|u − v|²/2) for rows [n, d] and centres [V, d]: [n, V]."""
    level = rows.square().sum(1, keepdim=True) + centres.square().sum(1)
    return torch.addmm(level, rows, centres.T, beta=-0.5).clamp_(max=0).exp_()


def log_beliefs(scores: Tensor, expert: Expert) -> Tensor:
    """Turn scores [n, K] into log-probabilities; classes without a trusted row keep their share."""
    unseen = torch.isfinite(expert.unseen)
    shares = expert.unseen.to(scores.dtype).expand_as(scores)
    if bool(unseen.all()):
        return shares
    left = torch.log1p(-expert.unseen.exp().sum().clamp(max=1 - 1e-6)).to(scores.dtype)
    logits = expert.sharpness * scores + expert.bias.to(scores.dtype)
    return torch.where(unseen, shares, torch.log_softmax(logits.masked_fill(unseen, -torch.inf), dim=1) + left)


@dataclass(frozen=True)
class Solved:
    """The regression on all trusted rows, from which every view follows."""

    inverse: Tensor  # [V, V] float64: G
    alpha: Tensor  # [V, K]
    target: Tensor  # [V, K]: Y − 1/K


def fit(scores: Scores, views: Views, options: TrustedOnlyOptions) -> TrustedOnly:
    """Invert the kernel of the trusted rows once, and fit every view from it."""
    sample, dtype = scores.sample, scores.ridge.mean.dtype
    chosen = few_rows(sample.draw[views.rows], 1, options.rows)
    index, labels = views.rows[chosen], views.labels[chosen]
    centres = scores.ridge.rows[index].to(dtype)
    place = torch.full_like(sample.given, -1)
    place[index] = torch.arange(len(index), device=place.device)
    target = one_hot(labels, sample.classes, torch.float64) - 1 / sample.classes
    solved = solve(centres.double(), target, options.strength)
    experts = [expert_of(solved, views.known[view, chosen], views.priors[view]) for view in range(len(views))]
    return TrustedOnly(scores.ridge.rows, centres, place, experts)


def solve(centres: Tensor, target: Tensor, strength: float) -> Solved:
    """Solve the regression of targets [V, K] on centres [V, d]."""
    gram = kernel(centres, centres)
    gram.diagonal().add_(strength)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
    return Solved(inverse, inverse @ target, target)


def without(solved: Solved, known: Tensor) -> tuple[Tensor, Tensor]:
    """Return α [V, K], 0 for rows outside `known` [V], and each known row's score by the fit without it too [V, K]."""
    out = torch.where(~known)[0]
    alpha, diagonal = solved.alpha.clone(), solved.inverse.diagonal().clone()
    if len(out):
        across = solved.inverse[:, out]
        part = torch.linalg.solve(solved.inverse[out][:, out], across.T)
        alpha -= part.T @ solved.alpha[out]
        diagonal -= (across * part.T).sum(1)
        alpha[out], diagonal[out] = 0, 1
    return alpha, solved.target - alpha / diagonal[:, None]


def expert_of(solved: Solved, known: Tensor, prior: Prior) -> Expert:
    """Fit one view: the regression, and how sharp its softmax is, by the scores that rows have without themselves."""
    alpha, alone = without(solved, known)
    label = solved.target.argmax(1)[known]
    seen = torch.zeros_like(prior.shares, dtype=torch.bool).index_fill_(0, label, True)
    scores, sharpness = alone[known][:, seen], 1.0
    if len(label):
        spread = max(float(scores.std(correction=0)), 1e-12)
        truth = one_hot(label, len(seen), torch.float64)[:, seen].log()
        columns = (scores / spread).unsqueeze(-1)
        pull = Pull(columns.new_ones(1), 1.0)
        sharpness = float(fit_logit(columns, truth, columns.new_ones(len(label)), pull)) / spread
    return Expert(alpha, alone, known, sharpness, -prior.offset, torch.where(seen, -torch.inf, prior.shares.log()))
