"""Judge features with labels: a linear probe and the nearest rows; and make them small."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

DECAYS = (1e-5, 1e-4, 1e-3, 1e-2)
HELD_OUT = 10  # every tenth training row chooses the decay
NEIGHBOURS, TEMPERATURE = 200, 0.1

Part = tuple[Tensor, Tensor]  # features of each image and of its mirror image [2, n, d], labels [n]


def judge_features(train: Part, test: Part) -> dict[str, float]:
    """Return shares of right test labels: linear probe of plain features and of both mirrorings' mean, and k-NN."""
    (views, labels), (test_views, test_labels) = train, test
    mean, spread = views.mean(dim=(0, 1)), views.std(dim=(0, 1)).clamp(min=1e-6)
    rows, test_rows = ((v - mean) / spread for v in (views, test_views))
    decay = best_decay(rows, labels)
    scores = scores_of(fit(rows, labels, decay), test_rows)
    return {
        "linear_probe": right(scores[0], test_labels),
        "linear_probe_mirrored": right(scores.mean(dim=0), test_labels),
        "decay": decay,
        "nearest": right(vote(views[0], labels, test_views[0]), test_labels),
    }


def right(scores: Tensor, labels: Tensor) -> float:
    """Return the share of rows whose best score is their label."""
    return round(float((scores.argmax(dim=-1) == labels).float().mean()), 4)


def best_decay(rows: Tensor, labels: Tensor) -> float:
    """Choose the weight decay by training rows that the fit did not see."""
    held = torch.arange(len(labels), device=labels.device) % HELD_OUT == 0
    shares = []
    for decay in DECAYS:
        scores = scores_of(fit(rows[:, ~held], labels[~held], decay), rows[:, held])
        shares.append(right(scores[0], labels[held]))
    return DECAYS[shares.index(max(shares))]


def fit(rows: Tensor, labels: Tensor, decay: float) -> Tensor:
    """Fit a softmax regression [d + 1, classes] on images and their mirror images [2, n, d], to convergence."""
    both, targets = with_one(rows).flatten(0, 1), labels.repeat(2)
    weight = torch.zeros(both.shape[1], int(labels.max()) + 1, device=rows.device, requires_grad=True)
    solver = torch.optim.LBFGS([weight], max_iter=200, history_size=20, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        value = functional.cross_entropy(both @ weight, targets) + decay * weight[:-1].square().sum()
        value.backward()
        return value

    solver.step(loss)
    return weight.detach()


def with_one(rows: Tensor) -> Tensor:
    """Add a column of ones."""
    return torch.cat([rows, torch.ones_like(rows[..., :1])], dim=-1)


def scores_of(weight: Tensor, rows: Tensor) -> Tensor:
    """Return probabilities."""
    return torch.softmax(with_one(rows) @ weight, dim=-1)


def vote(rows: Tensor, labels: Tensor, asked: Tensor) -> Tensor:
    """Let the 200 nearest rows (cosine) vote, nearer ones more: exp(cosine / 0.1)."""
    unit = functional.normalize(rows)
    classes = functional.one_hot(labels).float()
    found: Sequence[Tensor] = []
    for some in functional.normalize(asked).split(1000):
        near = (some @ unit.T).topk(min(NEIGHBOURS, len(rows)), dim=1)
        weights = (near.values / TEMPERATURE).exp()
        found = [*found, (weights.unsqueeze(2) * classes[near.indices]).sum(dim=1)]
    return torch.cat(list(found))


def reduce_features(train: Tensor, test: Tensor, numbers: int) -> Tensor:
    """Keep the directions in which unit-length training features vary most, [n + m, numbers]."""
    unit, test_unit = functional.normalize(train), functional.normalize(test)
    mean = unit.mean(dim=0)
    centred = (unit - mean).double()
    directions = torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)[:, :numbers].float()
    return torch.cat([unit - mean, test_unit - mean]) @ directions
