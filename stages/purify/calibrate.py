"""Fusion and calibration, the same after every method: P ∝ exp(a·log p_k + b·log T[k, g] + c·1[k = g]).

The three numbers are a conditional logit on the trusted rows, pulled to (1, 1, 0), which is Bayes' rule: safe with a
hundred rows. They mend beliefs that are too sure, and given labels that err where the features err. With several
annotators Σ_a log T_a[k, g_a] takes the place of log T: what they have in common b tones down.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from stages.linear.logit import Pull, fit_logit
from stages.linear.narrow import softmax
from stages.purify.transition import Crowd, Learned, one_hot


@dataclass(frozen=True)
class Calibration:
    """How much to trust the belief (a), the noise matrix (b), and the given label beyond it (c)."""

    belief: float = 1.0
    evidence: float = 1.0
    own: float = 0.0

    def fuse(self, log_beliefs: Tensor, given: Tensor, evidence: Tensor) -> Tensor:
        """Return probabilities [n, K] of the true label; evidence: log T[k, given], 0 where no label was given."""
        logits = self.belief * log_beliefs + self.evidence * evidence
        if self.own:
            has = given >= 0
            logits.scatter_add_(1, given.clamp_min(0)[:, None], (self.own * has).to(logits.dtype)[:, None])
        return softmax(logits)


@dataclass(frozen=True)
class Pairs:
    """Trusted rows as calibration and audit see them."""

    labels: Tensor  # [v] long
    given: Tensor  # [v] long, -1 where none
    weights: Tensor  # [v] float64, mean 1
    said: Tensor  # [v, A] long: what each annotator gave; `given` itself where there is one

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> "Pairs":
        """Return some of the rows."""
        return Pairs(self.labels[index], self.given[index], self.weights[index], self.said[index])


def fit_calibration(
    log_beliefs: Tensor, pairs: Pairs, crowd: Crowd | Learned, ridge: float, offset: Tensor | float = 0.0
) -> Calibration:
    """Fit (a, b, c) on trusted rows: log_beliefs [v, K]; each row's own pair is taken out of T.

    offset: how much likelier each class is among trusted rows than among all, in logs [K].
    """
    if len(pairs) == 0:
        return Calibration()
    evidence, classes = crowd.log_evidence(pairs.said, torch.float64), log_beliefs.shape[1]
    own = crowd.log_own(pairs.labels, pairs.said, pairs.weights)
    evidence.scatter_(1, pairs.labels[:, None], own[:, None].to(evidence.dtype))
    columns = [log_beliefs.double(), evidence, one_hot(pairs.given, classes, torch.float64)]
    known = one_hot(pairs.labels, classes, torch.float64).log()
    bayes = evidence.new_tensor([1.0, 1.0, 0.0])
    found = fit_logit(torch.stack(columns, dim=2), known, pairs.weights, Pull(bayes, ridge), offset)
    return Calibration(*found.tolist())
