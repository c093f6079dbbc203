"""The mathematics of the generalised cross-entropy."""

from typing import Any

import pytest
import torch
from torch import nn

from stages.retrain.learner import Setting
from stages.retrain.methods.gce import Gce
from stages.retrain.options import GceOptions


def probabilities(learner: Gce, batch: Any) -> torch.Tensor:
    return (learner.scores(batch.views[0]).softmax(1) * batch.targets).sum(1)


@pytest.mark.parametrize("q", [0.3, 0.7, 1.0])
def test_the_loss_is_its_formula(setting: Any, make_batch: Any, soft: torch.Tensor, q: float) -> None:
    batch = make_batch(targets=soft)
    learner = Gce(setting, GceOptions(q=q))
    expected = ((1 - probabilities(learner, batch) ** q) / q).mean()
    torch.testing.assert_close(learner(batch), expected)


def test_near_zero_it_is_the_cross_entropy(setting: Any, make_batch: Any) -> None:
    batch = make_batch()
    learner = Gce(setting, GceOptions(q=1e-4))
    torch.testing.assert_close(learner(batch), -probabilities(learner, batch).log().mean(), atol=1e-3, rtol=0)


def test_truncated_rows_pull_nothing_once_it_is_time(setting: Any, make_batch: Any) -> None:
    learner = Gce(setting, GceOptions(truncate=0.99, truncate_after=0.5))
    learner(make_batch(done=0.6)).backward()
    assert all((p.grad == 0).all() for p in learner.parameters() if p.grad is not None)
    learner(make_batch(done=0.4)).backward()
    assert any((p.grad != 0).any() for p in learner.parameters() if p.grad is not None)


def test_a_label_thought_impossible_has_a_finite_gradient(make_batch: Any) -> None:
    sure = nn.Linear(3, 4)
    with torch.no_grad():
        sure.weight.zero_()
        sure.bias.copy_(torch.tensor([0.0, 200.0, 0.0, 0.0]))
    learner = Gce(Setting(lambda _: sure, 20, 4, 0.0), GceOptions())
    learner(make_batch()).backward()
    assert all(torch.isfinite(p.grad).all() for p in learner.parameters() if p.grad is not None)
