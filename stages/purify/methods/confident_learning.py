"""Find wrong labels by counting confident disagreement (confident learning; Northcutt et al., JAIR 2021).

q_i = P(given | x_i) by leave-one-out scores, t_k = mean of q_i[k] over rows given k. A row given g counts for the pair
(g, k) where k is the likeliest class with q_i[k] ≥ t_k; the counts of each g are scaled to its rows. For every pair
that many rows of largest q_i[k] − q_i[g] are pruned, and get their likeliest class. It needs no trusted rows.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from stages.purify.sample import few_rows
from stages.purify.scores import Scores

BUDGET = 8_000_000  # numbers that the counted rows may hold
CHUNK = 8192


@dataclass(frozen=True)
class ConfidentLearning:
    """What the given labels should be, and from which margin on one is pruned."""

    scores: Scores
    joint: Tensor  # [K, K] float64: expected rows given g that are truly k
    margins: Tensor  # [K, K]: the least q[k] − q[g] of a pruned row

    def beliefs(self, rows: Tensor, view: int) -> Tensor:
        """Return log-probabilities [n, K], the same in every view."""
        return self.scores.given_beliefs(rows)

    def answer(self, rows: Tensor, log_beliefs: Tensor) -> Tensor:
        """Return the given labels of rows [n], and the likeliest class where they are pruned or there is none."""
        given, q = self.scores.sample.given[rows], log_beliefs.exp()
        margin = q - q.gather(1, given.clamp_min(0)[:, None])
        pruned = (margin >= self.margins[given.clamp_min(0)]).any(1) | (given < 0)
        return torch.where(pruned, q.argmax(1), given)


def fit(scores: Scores) -> ConfidentLearning:
    """Count the joint and set the margins on as many rows as the budget allows."""
    rows = torch.where(scores.bare.given >= 0)[0]
    if len(rows) * scores.sample.classes > BUDGET:
        rows = rows[few_rows(scores.sample.draw[rows], scores.sample.classes, len(rows), BUDGET)]
    said = [scores.given_beliefs(part).exp() for part in torch.split(rows, CHUNK)]
    q, given = torch.cat(said), scores.bare.given[rows]
    joint = count_joint(q, given)
    return ConfidentLearning(scores, joint, prune_margins(q, given, joint))


def count_joint(q: Tensor, given: Tensor) -> Tensor:
    """Count rows by given and by confident class, scaled to the rows of each given class [K, K]."""
    classes = q.shape[1]
    rows = torch.bincount(given, minlength=classes).double()
    own = q.gather(1, given[:, None])[:, 0].double()
    threshold = torch.zeros_like(rows).index_add_(0, given, own) / rows
    threshold = torch.where(rows > 0, threshold, torch.inf).to(q.dtype)
    confident = torch.where(q >= threshold, q, -1.0)
    sure = confident.amax(1) >= 0
    pairs = given[sure] * classes + confident[sure].argmax(1)
    counts = torch.bincount(pairs, minlength=classes * classes).view(classes, classes).double()
    total = counts.sum(1, keepdim=True)
    joint = torch.where(total > 0, counts / total.clamp_min(1), torch.eye(classes, dtype=counts.dtype).to(q.device))
    return joint * rows[:, None]


def prune_margins(q: Tensor, given: Tensor, joint: Tensor) -> Tensor:
    """Return for each pair (g, k) the least q[k] − q[g] among the rows that are pruned [K, K]."""
    margins = torch.full_like(joint, torch.inf).to(q.dtype)
    counts = joint.round().long().fill_diagonal_(0)
    for g in torch.where(counts.sum(1) > 0)[0].tolist():
        mine = q[given == g]
        best = (mine - mine[:, [g]]).sort(dim=0, descending=True).values
        cut = best.gather(0, (counts[g] - 1).clamp_min(0)[None])[0]
        margins[g] = torch.where(counts[g] > 0, cut, torch.inf)
    return margins
