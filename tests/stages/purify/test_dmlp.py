"""The mathematics of dmlp: gradients, the recursion, early stopping, feedback, and what is left out of a belief."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.errors import ResourceError
from stages.linear.ridge import fit_ridge
from stages.purify import label_states
from stages.purify.auxiliary import head_loss
from stages.purify.config import PurifyConfig
from stages.purify.label_states import Elementwise, RowSpace, first_weights
from stages.purify.methods import dmlp
from stages.purify.options import DmlpOptions
from stages.purify.primary import Axes, Lesson, axes_of, split_known
from stages.purify.targets import targets_of
from stages.purify.transition import one_hot
from stages.purify.views import plan_views

Make = Callable[..., Any]
ROWS, CLASSES, STRENGTH = 30, 3, 0.3


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def small() -> tuple[Axes, Lesson, Tensor]:
    """Thirty rows, nine of them trusted, two fits."""
    rows, given = draw(ROWS, 4), torch.arange(ROWS) % CLASSES
    axes = axes_of(fit_ridge(rows, torch.ones(ROWS, dtype=torch.bool), (STRENGTH,)))
    trusted = torch.arange(10)
    known = torch.ones(2, 10, dtype=torch.bool)
    known[1, ::3] = False
    truth = one_hot((trusted + trusted // 4) % CLASSES, CLASSES, torch.float64)
    prior = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    return axes, Lesson(axes.see(trusted), truth, *split_known(known), axes.see(torch.arange(12, 25)), prior), given


def solve(labels: Tensor) -> Tensor:
    """Predict all rows by textbook ridge regression with an intercept on labels [N, K]: [N, K]."""
    rows = draw(ROWS, 4)
    centred = rows - rows.mean(0)
    gram = centred.T @ centred
    level = float(torch.linalg.eigvalsh(gram).mean())
    weights = torch.linalg.solve(gram + STRENGTH * level * torch.eye(4, dtype=torch.float64), centred.T @ labels)
    return centred @ weights + labels.mean(0)


def slow_loss(labels: Tensor, lesson: Lesson, fit: int) -> Tensor:
    """Write the loss of one fit as the formula has it, from the labels on."""
    found, truth = solve(labels), lesson.truth.argmax(1)
    total = torch.zeros((), dtype=torch.float64)
    for i, share in enumerate(lesson.teach[fit]):
        total = total + share * functional.cross_entropy(found[i], truth[i])
        total = total + share * (found[i] - lesson.truth[i]).square().sum()
    mean = torch.softmax(found[12:25], dim=1).mean(0)
    return total + (lesson.prior * (lesson.prior / mean).log()).sum()


def test_the_label_gradient_is_exact() -> None:
    axes, lesson, given = small()
    weights = first_weights(axes, given, CLASSES).repeat(2, 1, 1)
    found = axes.apply(axes.scale[:, None] * lesson.gradient(weights), torch.arange(ROWS))
    for fit in range(2):
        labels = one_hot(given, CLASSES, torch.float64).requires_grad_()
        (wanted,) = torch.autograd.grad(slow_loss(labels, lesson, fit), labels)
        torch.testing.assert_close(found[fit], wanted, rtol=1e-9, atol=1e-13)
        plain, step = labels.detach(), 1e-5
        for row, column in ((0, 0), (7, 2), (29, 1)):
            up, down = plain.clone(), plain.clone()
            up[row, column] += step
            down[row, column] -= step
            slope = (slow_loss(up, lesson, fit) - slow_loss(down, lesson, fit)) / (2 * step)
            assert float(found[fit, row, column]) == pytest.approx(float(slope), abs=1e-9)


def test_the_row_space_recursion_is_plain_descent_on_all_labels() -> None:
    axes, lesson, given = small()
    rates = 0.5 / lesson.steepness(axes)
    state = RowSpace(axes, first_weights(axes, given, CLASSES).repeat(2, 1, 1), rates)
    start = one_hot(given, CLASSES, torch.float64)
    slow = [start.clone(), start.clone()]
    losses = [[float(slow_loss(slow[fit], lesson, fit))] for fit in range(2)]
    for _ in range(40):
        state.step(lesson.gradient(state.weights))
        for fit in range(2):
            labels = slow[fit].requires_grad_()
            loss = slow_loss(labels, lesson, fit)
            slow[fit] = (labels - rates[fit] * torch.autograd.grad(loss, labels)[0]).detach()
            losses[fit].append(float(loss.detach()))
    everyone = torch.arange(ROWS)
    for fit in range(2):
        found = state.rest(everyone, fit) + start
        assert float((found - start).abs().max()) > 0.05
        assert float((found - slow[fit]).abs().max()) < 1e-9
        assert float((axes.apply(state.weights, everyone)[fit] - solve(slow[fit])).abs().max()) < 1e-9
        assert all(b <= a + 1e-12 for a, b in zip(losses[fit], losses[fit][1:], strict=False))  # the rate is stable


def test_the_paper_variant_is_adam_on_all_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.purify.primary.CHUNK", 7)
    axes, lesson, given = small()
    state = Elementwise(axes, first_weights(axes, given, CLASSES).repeat(2, 1, 1), given, 0.01)
    start = one_hot(given, CLASSES, torch.float64)
    labels = torch.nn.Parameter(start.clone())
    adam = torch.optim.Adam([labels], lr=0.01, betas=label_states.BETAS, eps=label_states.EPSILON / ROWS)
    for _ in range(10):
        state.step(lesson.gradient(state.weights))
        adam.zero_grad()
        slow_loss(labels, lesson, 0).backward()  # type: ignore[no-untyped-call]
        adam.step()
    everyone = torch.arange(ROWS)
    torch.testing.assert_close(state.rest(everyone, 0) + start, labels.data, rtol=0, atol=1e-8)
    torch.testing.assert_close(axes.apply(state.weights, everyone)[0], solve(labels.data), rtol=0, atol=1e-8)


@pytest.mark.parametrize("variant", ["row_space", "paper"])
def test_feedback_blends_what_heads_say_into_labels(variant: str) -> None:
    axes, lesson, given = small()
    weights = first_weights(axes, given, CLASSES).repeat(2, 1, 1)
    row_space = RowSpace(axes, weights, 0.5 / lesson.steepness(axes))
    state = row_space if variant == "row_space" else Elementwise(axes, weights, given, 0.01)
    said = torch.softmax(draw(2, ROWS, CLASSES, seed=9), dim=-1)
    everyone, start = torch.arange(ROWS), one_hot(given, CLASSES, torch.float64)
    state.step(lesson.gradient(state.weights))
    before = state.rest(everyone) + start
    state.feed(lambda rows, fits: said[fits][:, rows], 0.6)
    state.step(lesson.gradient(state.weights))
    state.keep(torch.tensor([True, False]))
    after = state.rest(everyone) + state.own[:, None, None] * start
    assert state.own.tolist() == [0.6, 0.6]
    assert float((after - (0.6 * before + 0.4 * said)).abs().max()) < 0.5 * float((after - before).abs().max())
    for fit in range(2):
        torch.testing.assert_close(axes.apply(state.weights, everyone)[fit], solve(after[fit]), rtol=0, atol=1e-9)
    state.feed(lambda rows, fits: said[fits][:, rows], 0.6)
    state.restore()
    torch.testing.assert_close(state.rest(everyone, 0) + 0.6 * start, after[0])
    torch.testing.assert_close(state.rest(everyone, 1), torch.zeros(ROWS, CLASSES, dtype=torch.float64))  # as at first


def test_the_loss_of_the_heads_is_its_formula() -> None:
    scores, labels, prior = draw(2, 4, 3), torch.tensor([[0, 1, 2, 0], [1, 1, 0, 2]]), torch.tensor([0.5, 0.3, 0.2])
    options = DmlpOptions(confidence=0.4, prior=2.0)
    total = 0.0
    for fit in range(2):
        p = torch.softmax(scores[fit], dim=1)
        total += float(functional.cross_entropy(scores[fit], labels[fit]) + 0.4 * (p * p.log()).sum(1).mean())
        total += 2.0 * float((prior * (prior / p.mean(0)).log()).sum())
    assert float(head_loss(scores, labels, prior, options)) == pytest.approx(total)
    bounded = head_loss(100 * scores, labels, prior, DmlpOptions(confidence=0, prior=0, head_loss="bounded"))
    assert float(bounded) < 2 * 1.56  # log(e + 2) − 0 per fit at most, however wrong and sure


QUICK = DmlpOptions(epochs=12, period=4, head_steps=2, neighbours=0, batch_size=64)


def fitted(made: Any, **options: Any) -> dmlp.Dmlp:
    plan = plan_views(made.sample, made.trust, PurifyConfig(folds=3))
    targets = [targets_of(made.sample, plan.views, view) for view in range(len(plan.views))]
    return dmlp.fit(made.sample, targets, QUICK.model_copy(update=options))


def test_labels_end_where_the_held_out_loss_was_least(problem: Make) -> None:
    found = fitted(problem(trusted=30), row_rate=1.0, strength=0.001, momentum=1.0, epochs=40, patience=40)
    losses = [entry["held_loss"] for entry in found.curve]
    lesson = dmlp.lesson_of(problem(trusted=30).sample, found.fits, found.axes)
    best = min(range(len(losses)), key=lambda i: losses[i])  # type: ignore[arg-type,return-value]
    assert 0 < best < len(losses) - 1, losses
    assert float(lesson.errors(found.state.weights, lesson.held)[0]) == pytest.approx(losses[best])
    assert set(found.curve[0]) == {"held_loss", "labels_right", "ridge_right", "heads_right"}


def test_patience_ends_a_descent_that_helps_nobody(problem: Make) -> None:
    found = fitted(problem(trusted=4), patience=3)
    assert len(found.curve) == 4
    assert torch.equal(found.state.own, torch.ones_like(found.state.own))  # no fifth to hold out: labels stay
    assert found.curve[0]["held_loss"] is None


def test_the_heads_change_labels(problem: Make) -> None:
    made = problem(trusted=100)
    alive, off = (fitted(made, momentum=m, labels="blended", patience=12) for m in (0.7, 1.0))
    assert float(alive.state.own.min()) < 1.0
    assert torch.equal(off.state.own, torch.ones_like(off.state.own))
    everyone = torch.arange(400)
    assert float((alive.blocks(everyone, 0) - off.blocks(everyone, 0)).abs().max()) > 0.05


@pytest.mark.parametrize("labels", ["predictions", "blended"])
@pytest.mark.parametrize("variant", ["row_space", "paper"])
def test_a_belief_hardly_knows_the_own_given_label(variant: str, labels: str, problem: Make) -> None:
    made = problem(trusted=40)
    row = int(torch.where(made.trust.labels < 0)[0][0])
    given = made.sample.given.clone()
    given[row] = (given[row] + 1) % 4
    one, two = (fitted(p, variant=variant, labels=labels) for p in (made, made.changed(given=given)))
    everyone = torch.arange(400)
    change = (one.blocks(everyone, 0) - two.blocks(everyone, 0)).abs().amax(dim=(0, 2))
    assert float(change[row]) < 0.05


@pytest.mark.parametrize("labels", ["predictions", "blended"])
def test_no_block_knows_the_own_trusted_label_nor_those_of_the_views_fold(labels: str, problem: Make) -> None:
    made = problem(trusted=40)
    known = torch.where(made.trust.labels >= 0)[0]
    before = fitted(made, labels=labels)
    for view in range(len(before.heads)):
        group = 2 if view == 0 else view
        mine = known[before.fits.group[known] == group]
        trusted = made.trust.labels.clone()
        trusted[mine] = (trusted[mine] + 1) % 4
        after = fitted(replace(made, trust=replace(made.trust, labels=trusted)), labels=labels)
        asked = mine if view == 0 else torch.arange(400)
        assert torch.equal(before.blocks(asked, view), after.blocks(asked, view))
        assert view or not torch.equal(before.blocks(torch.arange(400), 0), after.blocks(torch.arange(400), 0))


def test_the_paper_variant_says_when_memory_will_not_do(problem: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dmlp, "MOST_ENTRIES", 1000)
    with pytest.raises(ResourceError, match=r"four numbers for each of 7 fits, 400 rows and 4 classes.*row_space"):
        fitted(problem(), variant="paper")
