"""The mathematics of plain supervised learning."""

from typing import Any

import pytest
import torch
from torch.nn import functional

from pipeline.errors import ConfigError
from stages.retrain.methods.cross_entropy import CrossEntropy
from stages.retrain.options import CrossEntropyOptions


def loss_of(setting: Any, batch: Any, **options: Any) -> tuple[CrossEntropy, torch.Tensor]:
    learner = CrossEntropy(setting, CrossEntropyOptions(**options))
    return learner, learner(batch)


def test_hard_targets_give_torchs_cross_entropy(setting: Any, make_batch: Any) -> None:
    batch = make_batch()
    learner, loss = loss_of(setting, batch, label_smoothing=0.1)
    labels = batch.targets.argmax(1)
    expected = functional.cross_entropy(learner.scores(batch.views[0]), labels, label_smoothing=0.1)
    torch.testing.assert_close(loss, expected)


def test_the_loss_is_the_slow_weighted_sum(setting: Any, make_batch: Any, soft: torch.Tensor) -> None:
    weights = torch.tensor([1.0, 0.0, 0.5, 2.0, 1.0, 0.0])
    batch = make_batch(targets=soft, weights=weights)
    learner, loss = loss_of(setting, batch)
    said = learner.scores(batch.views[0]).softmax(1)
    slow = sum(-weights[i] * soft[i, k] * said[i, k].log() for i in range(6) for k in range(4))
    torch.testing.assert_close(loss, slow / weights.sum())


def test_the_gradient_vanishes_where_the_network_says_the_target(setting: Any, make_batch: Any) -> None:
    batch = make_batch()
    said = CrossEntropy(setting, CrossEntropyOptions()).scores(batch.views[0]).softmax(1).detach()
    learner, loss = loss_of(setting, make_batch(targets=said, weights=torch.linspace(0, 1, 6)))
    loss.backward()
    for parameter in learner.parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, torch.zeros_like(parameter), atol=1e-7, rtol=0)


def test_rows_without_weight_teach_nothing_even_all_together(setting: Any, make_batch: Any) -> None:
    learner, loss = loss_of(setting, make_batch(weights=torch.zeros(6)), mixup=0.3)
    loss.backward()
    assert loss == 0
    assert all(p.grad is not None and (p.grad == 0).all() for p in learner.parameters())


def test_mixup_and_cutmix_take_turns(setting: Any, make_batch: Any) -> None:
    from stages.retrain.methods.cross_entropy import draw_mixing

    pictures = (torch.zeros(6, 3, 8, 8),)
    options = CrossEntropyOptions(mixup=1.0, cutmix=1.0)
    drawn = [draw_mixing(make_batch(views=pictures, seed=seed), options) for seed in range(40)]
    boxes = sum(mixing is not None and mixing.box is not None for mixing in drawn)
    assert 10 < boxes < 30


def test_cutmix_needs_pictures(setting: Any, make_batch: Any) -> None:
    with pytest.raises(ConfigError, match="cutmix cuts pictures, but this model learns from features"):
        loss_of(setting, make_batch(), cutmix=1.0)
