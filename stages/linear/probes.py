"""What a few rows of known label say about features: leave-one-out accuracy of a vote and of a ridge regression."""

import torch
from torch import Tensor
from torch.nn import functional

from stages.linear.ridge import fit_ridge
from stages.linear.votes import count_labels

MOST_ROWS = 2000  # more would only cost time: the figures are a verdict, not a benchmark


def knn_accuracy(rows: Tensor, labels: Tensor, neighbours: int = 5) -> float:
    """Return the share of rows [n, d] whose nearest others vote for their label; ties are broken by similarity."""
    rows, labels = rows[:MOST_ROWS], labels[:MOST_ROWS]
    if len(rows) < 2:
        return 0.0
    unit = functional.normalize(rows.to(torch.float32), dim=1)
    similarity = unit @ unit.T
    similarity.fill_diagonal_(-2)
    nearest = similarity.topk(min(neighbours, len(rows) - 1), dim=1).indices
    classes = int(labels.max()) + 1
    votes = count_labels(nearest, labels, classes, torch.float32)
    votes += 0.5 * count_labels(nearest[:, :1], labels, classes, torch.float32)
    return float((votes.argmax(1) == labels).double().mean())


def linear_accuracy(rows: Tensor, labels: Tensor, strength: float = 1.0) -> float:
    """Return the share of rows [n, d] that a ridge regression on the other rows gives their label."""
    rows, labels = rows[:MOST_ROWS], labels[:MOST_ROWS]
    if len(rows) < 2:
        return 0.0
    ridge = fit_ridge(rows, torch.ones(len(rows), dtype=torch.bool, device=rows.device), (strength,))
    target = functional.one_hot(labels, int(labels.max()) + 1).to(ridge.mean.dtype)
    everyone = torch.arange(len(rows), device=rows.device)
    weights = ridge.weights(ridge.take(everyone).T @ target)
    scores = ridge.leave_one_out(everyone, weights, target, target.mean(0))[0]
    return float((scores.argmax(1) == labels).double().mean())
