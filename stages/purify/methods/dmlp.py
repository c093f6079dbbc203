"""The Decoupled Meta Label Purifier: correct all labels Y on frozen features so that trusted rows come out right.

IPC: Y moves against ∂/∂Y L(ridge(X, Y) on trusted rows), exact as ridge regression has a closed form, until the loss on
a held-out fifth of the trusted rows rises; EAC: heads learn argmax Y, and Y ← m Y + (1 − m) what they say, crosswise.
Tu et al., "Learning from Noisy Labels with Decoupled Meta Label Purifier", CVPR 2023.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import ResourceError
from stages.linear.design import design
from stages.linear.ridge import fit_ridge
from stages.purify.auxiliary import Auxiliary, Heads, tell
from stages.purify.bundle import Rows, open_rows
from stages.purify.fits import Fits, plan_fits
from stages.purify.head import Head, fit_heads
from stages.purify.label_states import Elementwise, LabelState, RowSpace, first_weights
from stages.purify.options import DmlpOptions
from stages.purify.primary import Axes, Lesson, axes_of, split_known
from stages.purify.sample import Sample, few_rows
from stages.purify.targets import Targets
from stages.purify.transition import one_hot

OTHERS = 500  # rows whose predictions should follow the class shares
MOST_ENTRIES = 1_000_000_000  # labels kept entry by entry: four numbers each

Curve = list[dict[str, float | None]]


@dataclass(frozen=True)
class Dmlp:
    """Purified labels of every fit as of the end that held-out rows chose, and heads that turn them into beliefs."""

    given: Tensor  # [N] long
    fits: Fits
    axes: Axes
    rows: Rows
    state: LabelState
    said: Heads  # of the auxiliary branches
    predictions: bool
    curve: Curve
    held: Tensor  # [V] shares of the rows that ended the descent of the fit that knows all trusted rows
    heads: list[Head] = field(default_factory=list)

    @property
    def learned(self) -> dict[str, Any]:
        """Tell the four curves, on the trusted rows that were held out to end the descent."""
        return {"held_out": int((self.held > 0).sum()), "curve": self.curve}

    def blocks(self, rows: Tensor, view: int) -> Tensor:
        """Return scores without each row's own given and trusted label [M, n, K]."""
        dtype, classes = self.rows.mean.dtype, self.state.weights.shape[2]
        result = torch.empty(2 if self.predictions else 1, len(rows), classes, dtype=dtype, device=rows.device)
        for fit, positions in self.fits.parts(rows, view):
            here = rows[positions]
            if self.predictions:
                result[0, positions] = self._left_out(here, fit)
                result[1, positions] = tell(self.rows, _some(self.said, slice(fit, fit + 1)), here)[0]
            else:
                result[0, positions] = self._rest(here, fit)
        return result

    def _rest(self, rows: Tensor, fit: int) -> Tensor:
        """Return Y less the own given label; of rows without one, the prediction [n, K]."""
        found = self.axes.apply(self.state.weights[fit : fit + 1], rows)[0]
        taught = self.axes.ridge.taught[rows]
        found[taught] = self.state.rest(rows[taught], fit)
        return found

    def _left_out(self, rows: Tensor, fit: int) -> Tensor:
        """Predict rows by the ridge regression on the purified labels of all others [n, K]."""
        found = self.axes.apply(self.state.weights[fit : fit + 1], rows)[0]
        taught = self.axes.ridge.taught[rows]
        here = rows[taught]
        own = self.state.own[fit].to(found.dtype) * one_hot(self.given[here], found.shape[1], found.dtype)
        h = self.axes.ridge.leverage[0, here, None]
        found[taught] = (found[taught] - h * (own + self.state.rest(here, fit))) / (1 - h)
        return found

    def beliefs(self, rows: Tensor, view: int) -> Tensor:
        """Return log-probabilities [n, K]."""
        return self.heads[view].log_beliefs(self.blocks(rows, view))


def _some(heads: Heads, fits: slice) -> Heads:
    return tuple({name: value[fits] for name, value in params.items()} for params in heads)


def fit(sample: Sample, targets: Sequence[Targets], options: DmlpOptions) -> Dmlp:
    """Purify the labels of every fit, and weigh what they say in every view."""
    table = design(sample.features, sample.neighbours, sample.ok, options.neighbours)
    taught, fits = sample.teaches & (sample.given >= 0), plan_fits(sample, targets)
    axes = axes_of(fit_ridge(table, taught, (options.strength,)))
    lesson = lesson_of(sample, fits, axes)
    state = first_state(sample, axes, lesson, options)
    rows = open_rows(table, sample, taught, len(sample))
    auxiliary = Auxiliary(rows, sample.given, lesson.prior, options, len(fits))
    curve, said = descend(Descent(sample.given, fits, axes, lesson, rows), state, auxiliary, options)
    found = Dmlp(sample.given, fits, axes, rows, state, said, options.labels == "predictions", curve, lesson.held[0])
    chosen = targets[0].teachers(sample.draw, 2 * sample.classes)
    found.heads.extend(fit_heads((found.blocks(chosen, view) for view in range(len(targets))), chosen, targets))
    return found


def lesson_of(sample: Sample, fits: Fits, axes: Axes) -> Lesson:
    """Collect what the trusted rows teach."""
    taught = torch.where(axes.ridge.taught)[0]
    others = taught[few_rows(sample.draw[taught], 4 * sample.classes)][:OTHERS]
    counts = torch.bincount(sample.given[taught], minlength=sample.classes).double()
    truth = one_hot(fits.labels, sample.classes, torch.float64)
    shares = split_known(fits.known)
    return Lesson(axes.see(fits.rows), truth, *shares, axes.see(others), counts / counts.sum().clamp_min(1))


def first_state(sample: Sample, axes: Axes, lesson: Lesson, options: DmlpOptions) -> LabelState:
    """Start every fit at the given labels."""
    fits, entries = len(lesson.teach), len(lesson.teach) * int(axes.ridge.taught.sum()) * sample.classes
    weights = first_weights(axes, sample.given, sample.classes).repeat(fits, 1, 1)
    if options.variant == "row_space":
        return RowSpace(axes, weights, options.row_rate / lesson.steepness(axes))
    if entries > MOST_ENTRIES:
        raise ResourceError(
            f"dmlp's variant 'paper' keeps four numbers for each of {fits} fits, {len(sample)} rows and "
            f"{sample.classes} classes: {entries * 16 / 2**30:.0f} GiB.",
            "Set purify.dmlp.variant to row_space, whose memory does not grow with the rows.",
        )
    return Elementwise(axes, weights, sample.given, options.label_rate)


@dataclass(frozen=True)
class Descent:
    """What does not change while labels do."""

    given: Tensor
    fits: Fits
    axes: Axes
    lesson: Lesson
    rows: Rows

    def labels(self, state: LabelState, index: Tensor) -> Tensor:
        """Return argmax Y of taught rows [n]: [H, n]."""
        rest = state.rest(index)
        own = state.own.to(rest.dtype)[:, None, None] * one_hot(self.given[index], rest.shape[2], rest.dtype)
        return (rest + own).argmax(-1)

    def note(self, state: LabelState, heads: Heads, loss: Tensor) -> dict[str, float | None]:
        """Note the four curves of the fit that knows all trusted rows, on those it holds out."""
        seen, lesson, rows = self.lesson.seen @ state.weights[0], self.lesson, self.fits.rows
        taught = self.axes.ridge.taught[rows]
        labels = seen.clone()
        if bool(taught.any()):
            labels[taught] = one_hot(self.labels(state, rows[taught])[0], labels.shape[1], labels.dtype)
        told = tell(self.rows, _some(heads, slice(1)), rows)[0]
        return {"held_loss": float(loss[0]) if bool((lesson.held[0] > 0).any()) else None,
                "labels_right": lesson.right(labels), "ridge_right": lesson.right(seen),
                "heads_right": lesson.right(told)}  # fmt: skip


def descend(what: Descent, state: LabelState, auxiliary: Auxiliary, options: DmlpOptions) -> tuple[Curve, Heads]:
    """Change labels until no fit's held-out loss fell for a while; leave each fit where its loss was least."""
    lesson, curve = what.lesson, []
    best = lesson.errors(state.weights, lesson.held)
    said, last = auxiliary.snapshot(), 0
    curve.append(what.note(state, said, best))
    for epoch in range(1, options.epochs + 1):
        state.step(lesson.gradient(state.weights))
        auxiliary.train(partial(what.labels, state), epoch / options.epochs)
        if epoch % options.period == 0:
            told = partial(_say, what.rows, auxiliary.snapshot())
            state.feed(told, options.momentum)
        loss = lesson.errors(state.weights, lesson.held)
        better = loss < best
        now = auxiliary.snapshot()
        curve.append(what.note(state, now, loss))
        if bool(better.any()):
            best, last = torch.where(better, loss, best), epoch
            state.keep(better)
            said = _where(better, now, said)
        if epoch - last >= options.patience:
            break
    state.restore()
    return curve, said


def _say(rows: Rows, heads: Heads, index: Tensor, fits: slice) -> Tensor:
    return tell(rows, _some(heads, fits), index).exp()


def _where(fits: Tensor, new: Heads, old: Heads) -> Heads:
    return tuple(
        {name: torch.where(fits[:, None, None], one[name], other[name]) for name in one}
        for one, other in zip(new, old, strict=True)
    )
