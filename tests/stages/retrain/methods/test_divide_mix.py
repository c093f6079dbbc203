"""How DivideMix sorts labels, and what it makes of them."""

from typing import Any

import numpy as np
import pytest
import torch

from stages.retrain.learner import Setting, Survey
from stages.retrain.methods.divide_mix import DivideMix, probably_right, sharpen, spread_penalty
from stages.retrain.mixing import mixup
from stages.retrain.options import DivideMixOptions


def test_two_groups_of_losses_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    low, high = rng.normal(0.3, 0.1, 300).clip(0), rng.normal(2.5, 0.3, 200)
    likely = probably_right(np.concatenate([low, high]))
    assert (likely[:300] > 0.9).mean() > 0.99
    assert (likely[300:] < 0.1).mean() > 0.99


@pytest.mark.parametrize("losses", [np.zeros(5), np.array([1.0]), np.empty(0)])
def test_losses_that_are_all_alike_speak_against_no_label(losses: np.ndarray) -> None:
    assert (probably_right(losses) == 1).all()


def test_sharpening_squares_at_a_half_and_keeps_the_order() -> None:
    probs = torch.tensor([[0.5, 0.3, 0.2]])
    torch.testing.assert_close(sharpen(probs, 0.5), probs**2 / (probs**2).sum())
    torch.testing.assert_close(sharpen(probs, 1.0), probs)


def test_the_penalty_vanishes_where_all_classes_are_alike() -> None:
    even, uneven = torch.eye(4), torch.tensor([[0.7, 0.1, 0.1, 0.1]])
    assert spread_penalty(even).abs() < 1e-6
    expected = (0.25 * (0.25 / uneven[0]).log()).sum()
    torch.testing.assert_close(spread_penalty(uneven), expected)


@pytest.mark.parametrize(("rate", "weight"), [(0.1, 0.0), (0.2, 0.0), (0.35, 12.5), (0.5, 25.0), (0.9, 25.0)])
def test_rows_without_labels_weigh_by_the_noise(setting: Any, rate: float, weight: float) -> None:
    learner = DivideMix(Setting(setting.build, 20, 4, rate), DivideMixOptions())
    assert learner.unlabelled == pytest.approx(weight)


def test_the_loss_is_the_slow_sum_and_labels_are_sorted_by_the_other_network(setting: Any, make_batch: Any) -> None:
    learner = DivideMix(setting, DivideMixOptions(noise_rate=0.6, ramp=0.1))
    right = torch.tensor([0.9, 0.2, 0.8, 0.1, 0.6, 0.4])
    learner.right[1, 3:9] = right
    learner.right[0, 3:9] = 1.0 - right
    batch = make_batch(views=(make_batch().views[0], make_batch().views[0] + 0.1))
    said = [torch.stack([n(v).softmax(1) for v in batch.views]).mean(0).detach() for n in learner.networks]
    slow = torch.zeros(())
    for own, other, w in ((0, 1, right), (1, 0, 1.0 - right)):
        rows = []
        for i in range(6):
            mixed = w[i] * batch.targets[i] + (1 - w[i]) * said[own][i]
            guess = (said[own][i] + said[other][i]) / 2
            rows.append(sharpen((mixed if w[i] > 0.5 else guess)[None], 0.5)[0])
        blend = mixup(12, 4.0, batch.generator(), own=True)
        targets = blend.values(torch.stack(rows).repeat(2, 1))
        scores = learner.networks[own](blend.inputs(torch.cat(batch.views)))
        has = (w > 0.5).repeat(2)
        known = -(targets * scores.log_softmax(1)).sum(1)[has].mean()
        unknown = ((scores.softmax(1) - targets) ** 2).mean(1)[~has].mean()
        slow = slow + known + 25 * unknown + spread_penalty(scores.softmax(1))
    torch.testing.assert_close(learner(batch), slow)


def test_losses_between_epochs_sort_the_rows_that_were_surveyed(setting: Any) -> None:
    learner = DivideMix(setting, DivideMixOptions())
    losses = torch.tensor([0.1, 0.2, 3.0, 3.1, 0.15])
    learner.after_epoch(Survey(torch.tensor([2, 4, 6, 8, 10]), lambda _: losses))
    assert (learner.right[0, [2, 4, 10]] > 0.9).all()
    assert (learner.right[1, [6, 8]] < 0.1).all()
    assert (learner.right[:, [0, 1, 3]] == 1).all()
