"""DMLP's extrinsic auxiliary correction: two branches of heads that learn purified labels and tell each other.

Branch b learns from its half of the rows, L = CE(p, argmax Y) + λ_c Σ p log p + λ_p KL(π ‖ mean p), and speaks about
the other half: so branches differ, feedback is crosswise, and no head tells a row what it learned from it.
"""

from collections.abc import Callable
from itertools import islice

import torch
from torch import Tensor
from torch.func import grad

from stages.purify.bundle import HALVES, Learner, Rows, batches, copies, first_params, score
from stages.purify.options import DmlpOptions
from stages.training.meta.look_ahead import Params

TINY = 1e-12

Heads = tuple[dict[str, Tensor], ...]  # of each branch


def head_loss(scores: Tensor, labels: Tensor, prior: Tensor, options: DmlpOptions) -> Tensor:
    """Return L for scores [H, n, K] and hard labels [H, n], averaged over rows and summed over fits."""
    log_p = torch.log_softmax(scores, dim=-1)
    p = log_p.exp()
    said = torch.log_softmax(p, dim=-1) if options.head_loss == "bounded" else log_p
    entropy = -said.gather(-1, labels[..., None])[..., 0]
    doubt = (p * log_p).sum(-1)
    away = (prior * (prior.clamp_min(TINY).log() - p.mean(1).clamp_min(TINY).log())).sum(-1)
    return ((entropy + options.confidence * doubt).mean(1) + options.prior * away).sum()


class Auxiliary:
    """The heads of both branches, one for each fit; they start alike, from the given labels."""

    def __init__(self, rows: Rows, given: Tensor, prior: Tensor, options: DmlpOptions, fits: int) -> None:
        self._rows, self._prior, self._options = rows, prior.to(rows.mean.dtype), options
        self._learners = [rows.learners(half) for half in range(HALVES)]
        first = first_params(len(rows.mean), 0, len(prior), rows.mean)
        steps = options.head_steps * options.period
        self._branches, self._orders = [], []
        for learners in self._learners:
            branch = self._branch(first)
            for done, batch in batches(len(learners), options.batch_size, steps):
                self._step(branch, learners[batch.to(learners.device)], lambda index: given[index][None], done)
            self._branches.append(self._branch(copies(branch.params, fits)))
            self._orders.append(batches(len(learners), options.batch_size, options.epochs * options.head_steps))

    def _branch(self, params: Params) -> Learner:
        return Learner(params, self._options.learning_rate, self._options.weight_decay)

    def train(self, labels: Callable[[Tensor], Tensor], done: float) -> None:
        """Take a few steps on the hard labels [H, n] of some rows [n]."""
        for branch, learners, order in zip(self._branches, self._learners, self._orders, strict=True):
            for _, batch in islice(order, self._options.head_steps):
                self._step(branch, learners[batch.to(learners.device)], labels, done)

    def _step(self, branch: Learner, rows: Tensor, labels: Callable[[Tensor], Tensor], done: float) -> None:
        inputs, wanted = self._rows.take(rows), labels(rows)
        branch.step(
            grad(lambda p: head_loss(score(p, inputs), wanted, self._prior, self._options))(branch.params), done
        )

    def snapshot(self) -> Heads:
        """Copy the parameters of both branches."""
        return tuple({name: value.detach().clone() for name, value in one.params.items()} for one in self._branches)


def tell(rows: Rows, heads: Heads, index: Tensor) -> Tensor:
    """Return log-probabilities of some rows [n], each by the heads of the half that it is not in: [H, n, K]."""
    inputs, half = rows.take(index), rows.half[index]
    found = [torch.log_softmax(score(params, inputs), dim=-1) for params in heads]
    return torch.where((half == 1)[:, None], found[0], found[1])
