"""What every purifier is given, and what it gives back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from stages.purify.prior import Prior
from stages.purify.transition import Crowd, Learned, Transition

MOST_ROWS = 5_000  # rows that fit a handful of numbers
BUDGET = 2_000_000  # numbers those rows may hold


@dataclass(frozen=True)
class Sample:
    """All rows of a data set as tensors; nothing here names a trusted label."""

    features: Tensor  # [N, d], as stored; rows without features are 0
    neighbours: Tensor  # [N, k] int, -1 where there is none
    given: Tensor  # [N] long, -1 where none
    ok: Tensor  # [N] bool: the row has features
    train: Tensor  # [N] bool: the row is neither for validation nor for test
    draw: Tensor  # [N] float64 in [0, 1): a hash of seed and id, for choosing rows whatever their order
    classes: int
    annotators: Tensor | None = None  # [N, A] long: what each annotator gave, where several did; -1 where nothing

    def __len__(self) -> int:
        return len(self.given)

    @property
    def said(self) -> Tensor:
        """Return the labels of every annotator [N, A]."""
        return self.given[:, None] if self.annotators is None else self.annotators

    @property
    def teaches(self) -> Tensor:
        """Tell which rows [N] a fit may learn from."""
        return self.ok & self.train


@dataclass(frozen=True)
class Views:
    """The trusted rows, and which of them each fit may know.

    View 0 knows them all; view f + 1 does not know those of audit fold f, which it will be judged by.
    """

    rows: Tensor  # [V] long
    labels: Tensor  # [V] long
    known: Tensor  # [views, V] bool
    transitions: tuple[Transition, ...]  # P(given | true), one for each view
    priors: tuple[Prior, ...] = ()  # class shares, one for each view
    crowds: tuple[Crowd, ...] = ()  # T of every annotator, one crowd for each view

    def __len__(self) -> int:
        return len(self.known)

    def trusted(self, view: int, rows: int) -> Tensor:
        """Spread the labels that a view knows over all rows [N]; -1 where it knows none."""
        spread = torch.full((rows,), -1, dtype=torch.long, device=self.rows.device)
        known = self.known[view]
        spread[self.rows[known]] = self.labels[known]
        return spread


class Fitted(Protocol):
    """A fitted purifier."""

    def beliefs(self, rows: Tensor, view: int) -> Tensor:
        """Return log-probabilities [n, K] of rows [n], made without each row's own given and own trusted label."""
        ...


@runtime_checkable
class Answering(Protocol):
    """A fitted purifier whose own answer is not just its likeliest class."""

    def answer(self, rows: Tensor, log_beliefs: Tensor) -> Tensor:
        """Return what it says by itself about rows [n], whose beliefs are known."""
        ...


@runtime_checkable
class Learning(Fitted, Protocol):
    """A fitted purifier that learned T itself, anew in every view."""

    @property
    def transitions(self) -> Sequence[Learned]:
        """Return P(given | true) of every view."""
        ...


def few_rows(draw: Tensor, numbers: int, most: int = MOST_ROWS, budget: int = BUDGET) -> Tensor:
    """Choose rows for fitting a handful of numbers: those of the lowest draw [n], so that their order is nothing.

    `numbers` is how many each row holds.
    """
    return draw.argsort(stable=True)[: min(most, max(budget // numbers, 100))]
