"""How DMLP keeps the labels Y of all rows while they change: as a recursion along the features, or entry by entry.

In both, Y_i = c onehot(given_i) + rest_i, with the own given label's share c known exactly, so it can be left out.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from stages.purify.primary import Axes
from stages.purify.transition import one_hot

Told = Callable[[Tensor, slice], Tensor]  # rows [n], fits → what the other branch's heads say of them [H, n, K]
EVERY = slice(None)
BETAS, EPSILON = (0.5, 0.999), 1e-8


class LabelState(Protocol):
    """The labels of every fit, and the ridge regression W [H, r + 1, K] on them."""

    weights: Tensor
    own: Tensor  # [H] c

    def step(self, gradient: Tensor) -> None:
        """Move all labels against C D ∂L/∂W, for ∂L/∂W [H, r + 1, K]."""
        ...

    def feed(self, told: Told, kept: float) -> None:
        """Blend what heads say into all labels: Y ← kept Y + (1 − kept) told."""
        ...

    def rest(self, rows: Tensor, fit: int | None = None) -> Tensor:
        """Return Y without the share of the own given label, for taught rows [n]: [H, n, K], or of one fit [n, K]."""
        ...

    def keep(self, fits: Tensor) -> None:
        """Remember the labels of some fits [H] as they are."""
        ...

    def restore(self) -> None:
        """Return every fit to what was last remembered."""
        ...


def first_weights(axes: Axes, given: Tensor, classes: int) -> Tensor:
    """Return the ridge regression on given labels [N], as of one fit [1, r + 1, K]."""
    dtype = axes.ridge.mean.dtype
    return axes.scale[:, None] * axes.moments(
        (rows, one_hot(given[rows], classes, dtype)[None]) for rows in axes.parts()
    )


class RowSpace:
    """Plain gradient descent: Y = c Y₀ + C M + what was fed, so that memory does not grow with the rows."""

    def __init__(self, axes: Axes, weights: Tensor, rates: Tensor) -> None:
        self.weights = weights
        self.own = weights.new_ones(len(weights))
        self._axes, self._rates = axes, rates[:, None, None]
        self._moves = torch.zeros_like(weights)
        self._fed: list[Told] = []
        self._shares = weights.new_zeros(len(weights), 0)
        self._kept: dict[str, Tensor] = {}
        self.keep(torch.ones(len(weights), dtype=torch.bool, device=weights.device))

    def step(self, gradient: Tensor) -> None:
        """Move all labels by one step."""
        change = self._rates * self._axes.scale[:, None] * gradient
        self._moves = self._moves - change
        self.weights = self.weights - self._axes.shrink[:, None] * change

    def feed(self, told: Told, kept: float) -> None:
        """Blend what heads say into all labels."""
        found = self._axes.scale[:, None] * self._axes.moments((rows, told(rows, EVERY)) for rows in self._axes.parts())
        self.weights = kept * self.weights + (1 - kept) * found
        self._moves, self.own = kept * self._moves, kept * self.own
        self._fed.append(told)
        self._shares = torch.cat([kept * self._shares, self._shares.new_full((len(self.own), 1), 1 - kept)], dim=1)

    def rest(self, rows: Tensor, fit: int | None = None) -> Tensor:
        """Return Y without the own given label [H, n, K], or of one fit [n, K]."""
        which = slice(None) if fit is None else slice(fit, fit + 1)
        result = self._axes.apply(self._moves[which], rows)
        for told, shares in zip(self._fed, self._shares[which].T, strict=True):
            result = result + shares.to(result.dtype)[:, None, None] * told(rows, which)
        return result if fit is None else result[0]

    def keep(self, fits: Tensor) -> None:
        """Remember some fits."""
        for name, value in self._state().items():
            kept = self._kept.get(name, value)
            kept = (
                torch.cat([kept, kept.new_zeros(len(kept), value.shape[1] - kept.shape[1])], 1)
                if name == "shares"
                else kept
            )
            self._kept[name] = torch.where(fits.view(-1, *[1] * (value.ndim - 1)), value, kept)

    def _state(self) -> dict[str, Tensor]:
        return {"weights": self.weights, "own": self.own, "moves": self._moves, "shares": self._shares}

    def restore(self) -> None:
        """Return every fit to what was remembered."""
        kept = self._kept
        self.weights, self.own, self._moves, self._shares = (kept[n] for n in ("weights", "own", "moves", "shares"))
        self._fed = self._fed[: self._shares.shape[1]]


class Elementwise:
    """Adam on every entry of Y, as in the release: four numbers for each fit, row and class."""

    def __init__(self, axes: Axes, weights: Tensor, given: Tensor, rate: float) -> None:
        self.weights = weights
        self.own = weights.new_ones(len(weights))
        self._axes, self._rate, self._steps = axes, rate, 0
        self._place = axes.ridge.taught.long().cumsum(0) - 1
        taught = given[axes.ridge.taught]
        start = one_hot(taught, weights.shape[2], axes.ridge.mean.dtype)
        self._labels, self._start = start.repeat(len(weights), 1, 1), taught
        self._first, self._second = torch.zeros_like(self._labels), torch.zeros_like(self._labels)
        self._kept = {name: value.clone() for name, value in self._state().items()}

    def step(self, gradient: Tensor) -> None:
        """Take one step of Adam on all labels, their gradient scaled by the number of rows."""
        self._steps += 1
        head = self._axes.scale[:, None] * gradient * self._labels.shape[1]
        parts = ((rows, self._adam(rows, self._axes.apply(head, rows))) for rows in self._axes.parts())
        self.weights = self._axes.scale[:, None] * self._axes.moments(parts)

    def _adam(self, rows: Tensor, gradient: Tensor) -> Tensor:
        here, (one, two) = self._here(rows), BETAS
        first = self._first[:, here].mul_(one).add_(gradient, alpha=1 - one)
        second = self._second[:, here].mul_(two).addcmul_(gradient, gradient, value=1 - two)
        spread = (second / (1 - two**self._steps)).sqrt_().add_(EPSILON)
        return self._labels[:, here].sub_(first / spread * (self._rate / (1 - one**self._steps)))

    def _here(self, rows: Tensor) -> slice:
        start = int(self._place[rows[0]])
        return slice(start, start + len(rows))

    def feed(self, told: Told, kept: float) -> None:
        """Blend what heads say into all labels."""

        def blended() -> Iterator[tuple[Tensor, Tensor]]:
            for rows in self._axes.parts():
                yield rows, self._labels[:, self._here(rows)].mul_(kept).add_(told(rows, EVERY), alpha=1 - kept)

        self.weights = self._axes.scale[:, None] * self._axes.moments(blended())
        self.own = kept * self.own

    def rest(self, rows: Tensor, fit: int | None = None) -> Tensor:
        """Return Y without the own given label [H, n, K], or of one fit [n, K]."""
        which, here = slice(None) if fit is None else slice(fit, fit + 1), self._place[rows]
        labels = self._labels[which, here]
        start = one_hot(self._start[here], labels.shape[2], labels.dtype)
        result = labels - self.own[which].to(labels.dtype)[:, None, None] * start
        return result if fit is None else result[0]

    def keep(self, fits: Tensor) -> None:
        """Remember some fits."""
        for name, value in self._state().items():
            self._kept[name][fits] = value[fits]

    def _state(self) -> dict[str, Tensor]:
        return {"weights": self.weights, "own": self.own, "labels": self._labels}

    def restore(self) -> None:
        """Return every fit to what was remembered."""
        self.weights, self.own, self._labels = (self._kept[n] for n in ("weights", "own", "labels"))
