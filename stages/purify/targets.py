"""What a fit is taught about each row: its given label, or the given label that its trusted one would lead to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.linear.design import CHUNK
from stages.linear.ridge import Ridge
from stages.linear.votes import count_labels
from stages.purify.sample import Sample, Views, few_rows
from stages.purify.transition import Transition, held_symmetric, one_hot


@dataclass(frozen=True)
class Targets:
    """The targets Q of one view: onehot(given), T[trusted] where the view knows it, the mean where neither is there."""

    given: Tensor  # [N] long, -1 where there is none or the trusted label stands in
    trusted: Tensor  # [N] long, -1 where the view knows none
    mean: Tensor  # [K] float64
    transition: Transition  # P(given | true) as this view knows it
    offset: Tensor  # [K] float64: log(share among trusted rows / share among all), where they are another draw

    @property
    def labelled(self) -> Tensor:
        """Tell which rows [N] have a label of either kind."""
        return (self.given >= 0) | (self.trusted >= 0)

    def teachers(self, draw: Tensor, numbers: int) -> Tensor:
        """Choose labelled rows [n] for fitting a handful of numbers (see `few_rows`)."""
        rows = torch.where(self.labelled)[0]
        return rows[few_rows(draw[rows], numbers)]

    def rows(self, index: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the targets of some rows [n, K]."""
        given, trusted = self.given[index], self.trusted[index]
        target = one_hot(given, self.transition.classes, dtype)
        known = trusted >= 0
        if bool(known.any()):
            target[known] = self.transition.push(one_hot(trusted[known], self.transition.classes, dtype))
        target[(given < 0) & ~known] = self.mean.to(dtype)
        return target

    def votes(self, neighbours: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the share of each class in the targets of the neighbours [n, k]: [n, K]."""
        counts = count_labels(neighbours, self.given, self.transition.classes, dtype)
        known = count_labels(neighbours, self.trusted, self.transition.classes, dtype)
        counts += self.transition.push(known)
        total = counts.sum(1, keepdim=True)
        return torch.where(total > 0, counts / total.clamp_min(1e-12), self.mean.to(dtype))


def targets_of(sample: Sample, views: Views, view: int) -> Targets:
    """Collect the targets of one view; rows that do not teach have none."""
    trusted = torch.where(sample.teaches, views.trusted(view, len(sample)), -1)
    given = torch.where(sample.teaches & (trusted < 0), sample.given, -1)
    transition = views.transitions[view]
    totals = torch.bincount(given[given >= 0], minlength=sample.classes).double()
    known = torch.bincount(trusted[trusted >= 0], minlength=sample.classes).double()
    totals += transition.push(known[None])[0]
    return Targets(given, trusted, totals / totals.sum().clamp_min(1e-12), transition, views.priors[view].offset)


def bare_targets(sample: Sample) -> Targets:
    """Collect given labels alone, as if no row were trusted."""
    given = torch.where(sample.teaches, sample.given, -1)
    totals = torch.bincount(given[given >= 0], minlength=sample.classes).double()
    itself = held_symmetric(sample.classes, 0.0, given.device)
    return Targets(
        given, torch.full_like(given, -1), totals / totals.sum().clamp_min(1e-12), itself, torch.zeros_like(totals)
    )


def moments_of(ridge: Ridge, sample: Sample, targets: Sequence[Targets]) -> Iterator[Tensor]:
    """Sum Xᵀ(Q − q̄) over the taught rows for one view after the other: [d, K] each.

    One pass over all rows serves every view: views differ in the trusted rows alone.
    """
    size, everyone = (sample.classes + 1, len(ridge.mean)), torch.arange(len(sample), device=sample.given.device)
    shared = ridge.mean.new_zeros(size)  # by given label, those without one last
    _add(shared, ridge, everyone[ridge.taught], sample.given)
    for target in targets:
        by_given, by_trusted = shared.clone(), ridge.mean.new_zeros(size)
        known = everyone[target.trusted >= 0]
        _add(by_given, ridge, known, sample.given, sign=-1)
        _add(by_trusted, ridge, known, target.trusted)
        pushed = target.transition.push(by_trusted[:-1].T)
        yield by_given[:-1].T + pushed + by_given[-1][:, None] * target.mean.to(pushed.dtype)


def _add(sums: Tensor, ridge: Ridge, index: Tensor, labels: Tensor, sign: int = 1) -> None:
    for here in torch.split(index, CHUNK):
        found = labels[here]
        sums.index_add_(0, torch.where(found >= 0, found, len(sums) - 1), ridge.take(here), alpha=sign)
