"""A bundle of heads, one a fit, that learn side by side from one half of the rows and speak about the other.

scores_h = x W_h + b_h, or with a hidden layer relu(x V_h + a_h) W_h + b_h. As every row is judged by the heads of the
half that it is not in, nothing said about a row was made with its own label.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import grad
from torch.nn import functional

from stages.linear.design import CHUNK, working_dtype
from stages.purify.fits import Fits
from stages.purify.options import HeadOptions
from stages.purify.sample import Sample
from stages.training.meta.look_ahead import Params

HALVES = 2


@dataclass(frozen=True)
class Rows:
    """Features as heads see them: centred, and scaled to a mean square of about 1."""

    table: Tensor  # [N, d], as stored
    mean: Tensor  # [d]
    half: Tensor  # [N] long: 0 or 1
    taught: Tensor  # [n] long: the rows that teach, in an order that is theirs

    def take(self, index: Tensor) -> Tensor:
        """Return some rows [n, d]."""
        return (self.table[index].to(self.mean.dtype) - self.mean) * math.sqrt(self.table.shape[1])

    def learners(self, half: int) -> Tensor:
        """Return the teaching rows of one half [n]."""
        return self.taught[self.half[self.taught] == half]


@dataclass(frozen=True)
class Judges:
    """The trusted rows, and which of them each fit may look at."""

    inputs: Tensor  # [V, d]
    labels: Tensor  # [V] long
    known: Tensor  # [H, V] bool

    def loss(self, params: Params) -> Tensor:
        """Return the mean cross-entropy on the rows that a fit knows, summed over fits."""
        log_p = torch.log_softmax(score(params, self.inputs), dim=-1)
        each = log_p.gather(2, self.labels.expand(len(log_p), -1)[..., None])[..., 0]
        share = self.known.to(each.dtype) / self.known.sum(1, keepdim=True).clamp_min(1)
        return -(share * each).sum()

    def some(self, count: int, generator: torch.Generator) -> "Judges":
        """Draw at most so many of the rows."""
        if len(self.labels) <= count:
            return self
        index = torch.randperm(len(self.labels), generator=generator)[:count].to(self.labels.device)
        return Judges(self.inputs[index], self.labels[index], self.known[:, index])


def open_rows(table: Tensor, sample: Sample, labelled: Tensor, most: int) -> Rows:
    """Split all rows [N, d] into halves, and choose at most so many labelled ones to teach."""
    order = sample.draw.argsort(stable=True)
    half = torch.empty_like(order)
    half[order] = torch.arange(len(order), device=order.device) % HALVES
    taught = order[labelled[order]][:most]
    parts = (table[part].double().sum(0) for part in torch.split(taught, CHUNK))
    mean = sum(parts, torch.zeros(table.shape[1], dtype=torch.float64, device=table.device))
    return Rows(table, (mean / max(len(taught), 1)).to(working_dtype(table)), half, taught)


def judges_of(rows: Rows, fits: Fits) -> Judges:
    """Collect the trusted rows as judges."""
    return Judges(rows.take(fits.rows), fits.labels, fits.known)


def first_params(inputs: int, hidden: int, classes: int, like: Tensor) -> dict[str, Tensor]:
    """Return the parameters of one head before training, as a bundle of one."""
    if hidden == 0:
        return {"weight": like.new_zeros(1, inputs, classes), "bias": like.new_zeros(1, 1, classes)}
    generator = torch.Generator().manual_seed(0)
    first, last = (
        torch.randn(1, a, b, generator=generator, dtype=torch.float64).mul(gain / math.sqrt(a)).to(like)
        for a, b, gain in ((inputs, hidden, math.sqrt(2)), (hidden, classes, 0.1))
    )
    return {"hidden_weight": first, "hidden_bias": like.new_zeros(1, 1, hidden),
            "weight": last, "bias": like.new_zeros(1, 1, classes)}  # fmt: skip


def score(params: Params, inputs: Tensor) -> Tensor:
    """Return the scores of every fit for rows [n, d]: [H, n, K]."""
    if "hidden_weight" not in params:
        return _side_by_side(inputs, params["weight"]) + params["bias"]
    hidden = torch.relu(_side_by_side(inputs, params["hidden_weight"]) + params["hidden_bias"])
    return hidden @ params["weight"] + params["bias"]


def _side_by_side(inputs: Tensor, weight: Tensor) -> Tensor:
    """Multiply rows [n, d] by all weights [H, d, m] in one product: [H, n, m]."""
    fits, _, width = weight.shape
    return (inputs @ weight.transpose(0, 1).flatten(1)).view(-1, fits, width).transpose(0, 1)


def copies(params: Params, fits: int) -> dict[str, Tensor]:
    """Give every fit a copy of the parameters of a bundle of one."""
    return {name: value.repeat(fits, *[1] * (value.ndim - 1)) for name, value in params.items()}


def batches(count: int, size: int, steps: int) -> Iterator[tuple[float, Tensor]]:
    """Go through minibatches, pass after pass: the share of the steps that is over, and positions among the rows."""
    order, generator = torch.empty(0, dtype=torch.long), torch.Generator().manual_seed(0)
    for step in range(steps if count else 0):
        if len(order) == 0:
            order = torch.randperm(count, generator=generator)
        yield step / steps, order[:size]
        order = order[size:]


class Learner:
    """Parameters of a bundle, and Adam with a rate that falls along a cosine.

    Each parameter's rate is divided by how many inputs it adds up, so that one rate suits features of any width.
    """

    def __init__(self, params: Params, rate: float, decay: float = 0.0) -> None:
        self.params = {name: value.clone() for name, value in params.items()}
        self._rates = [rate / self._inputs(name) for name in self.params]
        groups = [{"params": [value]} for value in self.params.values()]
        self._optimiser = torch.optim.AdamW(groups, weight_decay=decay)

    def _inputs(self, name: str) -> float:
        if name.endswith("bias"):
            return math.sqrt(self.params[name.replace("bias", "weight")].shape[1])
        return float(self.params[name].shape[1])

    def step(self, gradient: Params, done: float) -> None:
        """Follow a gradient; `done` is the share of the training that is over."""
        for group, rate, (name, value) in zip(
            self._optimiser.param_groups, self._rates, self.params.items(), strict=True
        ):
            group["lr"], value.grad = rate * 0.5 * (1 + math.cos(math.pi * done)), gradient[name]
        self._optimiser.step()


def _plain_loss(params: Params, inputs: Tensor, given: Tensor) -> Tensor:
    return functional.cross_entropy(score(params, inputs)[0], given)


def warm_up(params: Params, inputs: Tensor, given: Tensor, options: HeadOptions) -> dict[str, Tensor]:
    """Let a bundle of one learn given labels [n]: no trusted label is in it, so that all fits may start there."""
    learner = Learner(params, options.learning_rate, options.weight_decay)
    for done, batch in batches(len(inputs), options.batch_size, options.warmup_steps):
        index = batch.to(inputs.device)
        here, labels = inputs[index], given[index]
        learner.step(
            grad(lambda p, x=here, y=labels: functional.cross_entropy(score(p, x)[0], y))(learner.params), done
        )
    return learner.params


@dataclass(frozen=True)
class Bundle:
    """Trained heads of both halves, as a fitted purifier."""

    rows: Rows
    fits: Fits
    params: tuple[dict[str, Tensor], ...]  # of the heads that learned from each half

    def log_probabilities(self, rows: Tensor, view: int) -> Tensor:
        """Return log-probabilities [n, K], each row's by the heads of the other half and a fit that may speak."""
        result = self.rows.mean.new_empty(len(rows), self.params[0]["bias"].shape[-1])
        for fit, positions in self.fits.parts(rows, view):
            for half, params in enumerate(self.params):
                here = positions[self.rows.half[rows[positions]] != half]
                one = {name: value[fit : fit + 1] for name, value in params.items()}
                result[here] = torch.log_softmax(score(one, self.rows.take(rows[here]))[0], dim=1)
        return result
