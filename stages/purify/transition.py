"""How true labels turn into given ones: T[k, c] = P(given = c | true = k), from the trusted rows.

Each row of trusted counts C is shrunk to the symmetric matrix B of the pooled noise rate, T = (αB + C) / (α + n),
averaged over the posterior of α (Dirichlet-multinomial likelihood, log-uniform prior on 1..2000): symmetric noise
makes α large and holds T near B, anything else sets T free.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

MOST_CLASSES = 1000  # above that T is held symmetric: counts of a row say nothing, and K × K numbers need not fit
GRID = 40
LEAST_RATE = 1e-4  # nobody is without fault


@dataclass(frozen=True)
class Transition:
    """A noise matrix of K classes, kept whole or as one symmetric rate."""

    classes: int
    rate: float  # pooled P(given != true)
    pairs: float  # how many (true, given) pairs it is made of
    counts: Tensor  # [K, K] pairs, or [0, 0] where it is held symmetric
    strengths: Tensor  # [A] values of α
    weights: Tensor  # [A] their posterior

    @property
    def symmetric(self) -> bool:
        """Tell whether T is held symmetric."""
        return len(self.counts) == 0

    @property
    def strength(self) -> float:
        """Return the posterior's geometric mean of α."""
        return float((self.weights * self.strengths.log()).sum().exp())

    @cached_property
    def matrix(self) -> Tensor:
        """Return T [K, K] in float64."""
        base = symmetric_matrix(self.classes, self.rate, self.counts.device)
        if self.symmetric:
            return base
        total = self.counts.sum(1, keepdim=True)
        terms = [w * (a * base + self.counts) / (a + total) for w, a in zip(self.weights, self.strengths, strict=True)]
        return torch.stack(terms).sum(0)

    def log_evidence(self, given: Tensor, dtype: torch.dtype) -> Tensor:
        """Return log T[k, given] for all k [n, K]; zeros where no label was given."""
        if self.symmetric:
            off = math.log(self.rate / (self.classes - 1))
            evidence = torch.full((len(given), self.classes), off, dtype=dtype, device=given.device)
            evidence.scatter_(1, given.clamp_min(0)[:, None], math.log(1 - self.rate))
        else:
            evidence = self.matrix.log().T.to(dtype)[given.clamp_min(0)]
        return evidence * (given >= 0)[:, None]

    def log_own(self, true: Tensor, given: Tensor, weights: Tensor) -> Tensor:
        """Return log T[true, given] [v] with each pair itself taken out of the counts."""
        if self.symmetric:
            return torch.where(given == true, math.log(1 - self.rate), math.log(self.rate / (self.classes - 1)))
        base = symmetric_matrix(self.classes, self.rate, self.counts.device)[true, given]
        count = (self.counts[true, given] - weights).clamp_min(0)
        total = (self.counts.sum(1)[true] - weights).clamp_min(0)
        a = self.strengths[:, None]
        return (self.weights[:, None] * (a * base + count) / (a + total)).sum(0).log()

    def push(self, counts: Tensor) -> Tensor:
        """Turn counts of true labels [n, K] into expected counts of given labels [n, K]."""
        if not self.symmetric:
            return counts @ self.matrix.to(counts.dtype)
        off = self.rate / (self.classes - 1)
        return counts * (1 - self.rate - off) + off * counts.sum(1, keepdim=True)


@dataclass(frozen=True)
class Learned:
    """The T of a lone annotator, learned from all given labels; it is asked as a crowd is."""

    log_matrix: Tensor  # [K, K]

    def log_evidence(self, said: Tensor, dtype: torch.dtype) -> Tensor:
        """Return log T[k, said] for all k [n, K] of labels [n, 1]; -1 says nothing."""
        given = said[:, 0]
        return self.log_matrix.T.to(dtype)[given.clamp_min(0)] * (given >= 0)[:, None]

    def log_own(self, true: Tensor, said: Tensor, weights: Tensor) -> Tensor:
        """Return log T[true, said] [v]; a pair is one of so many rows that it stays in."""
        given = said[:, 0]
        return torch.where(given >= 0, self.log_matrix[true, given.clamp_min(0)], 0.0).double()


@dataclass(frozen=True)
class Crowd:
    """Annotators of the same rows, each with a T of their own; given the true label they err independently."""

    members: tuple[Transition, ...]

    def log_evidence(self, said: Tensor, dtype: torch.dtype) -> Tensor:
        """Return Σ_a log T_a[k, said_a] for all k [n, K] of labels [n, A]; -1 says nothing."""
        return torch.stack([t.log_evidence(said[:, a], dtype) for a, t in enumerate(self.members)]).sum(0)

    def log_own(self, true: Tensor, said: Tensor, weights: Tensor) -> Tensor:
        """Return Σ_a log T_a[true, said_a] [v] with each pair itself taken out of the counts."""
        parts = [t.log_own(true, said[:, a].clamp_min(0), weights) for a, t in enumerate(self.members)]
        return torch.where(said.T >= 0, torch.stack(parts), 0.0).sum(0)


def symmetric_matrix(classes: int, rate: float, device: torch.device) -> Tensor:
    """Return the matrix that keeps a label with 1 - rate and spreads the rest evenly."""
    base = torch.full((classes, classes), rate / (classes - 1), dtype=torch.float64, device=device)
    return base.fill_diagonal_(1 - rate)


def held_symmetric(classes: int, rate: float, device: torch.device) -> Transition:
    """Return the symmetric noise of a rate, made of no pairs."""
    one = torch.ones(1, dtype=torch.float64, device=device)
    rate = min(max(rate, LEAST_RATE), (classes - 1) / classes)
    return Transition(classes, rate, 0.0, one.new_zeros(0, 0), one, one)


def estimate_transition(true: Tensor, given: Tensor, weights: Tensor, classes: int, rate: float) -> Transition:
    """Estimate T from trusted pairs [v]; `rate` stands in where there is no pair at all."""
    has = given >= 0
    true, given, weights = true[has], given[has], weights[has].double()
    pairs = float(weights.sum())
    if pairs > 0:
        rate = float((weights[true != given].sum() + 0.5) / (pairs + 1))
    rate = min(max(rate, LEAST_RATE), (classes - 1) / classes)
    strengths = torch.logspace(0, math.log10(2000), GRID, dtype=torch.float64, device=true.device)
    if classes > MOST_CLASSES:
        return Transition(classes, rate, pairs, strengths.new_zeros(0, 0), strengths, strengths / strengths.sum())
    counts = torch.zeros(classes * classes, dtype=torch.float64, device=true.device)
    counts = counts.index_add_(0, true * classes + given, weights).view(classes, classes)
    posterior = torch.softmax(_log_likelihood(counts, symmetric_matrix(classes, rate, true.device), strengths), 0)
    return Transition(classes, rate, pairs, counts, strengths, posterior)


def _log_likelihood(counts: Tensor, base: Tensor, strengths: Tensor) -> Tensor:
    """Score each concentration α by the Dirichlet-multinomial likelihood of the counts."""
    total = counts.sum(1)
    seen = counts > 0
    terms = [
        (torch.lgamma(a) - torch.lgamma(a + total)).sum()
        + (torch.lgamma(a * base[seen] + counts[seen]) - torch.lgamma(a * base[seen])).sum()
        for a in strengths
    ]
    return torch.stack(terms)


def one_hot(labels: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """Return rows of zeros with a 1 at each label [n, K]; a label of -1 leaves zeros."""
    return functional.one_hot(labels + 1, classes + 1)[:, 1:].to(dtype)
