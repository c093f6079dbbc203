"""The mathematics of early-learning regularisation."""

from typing import Any

import torch

from stages.retrain.losses import pull
from stages.retrain.methods.elr import Elr
from stages.retrain.options import ElrOptions


def test_the_gradient_of_the_pull_is_the_papers() -> None:
    scores = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    memory = torch.rand(5, 4, generator=torch.Generator().manual_seed(1)).double().softmax(1)
    probs = scores.softmax(1)
    pull(probs, memory).sum().backward()
    agreement = (probs * memory).sum(1, keepdim=True)
    expected = -probs / (1 - agreement) * (memory - agreement)
    assert scores.grad is not None
    torch.testing.assert_close(scores.grad, expected.detach())


def test_the_pull_turns_the_gradient_of_a_wrong_label_around(setting: Any, make_batch: Any) -> None:
    """Where a row is remembered as another class with certainty, the score of its label no longer rises."""
    memory = torch.zeros(1, 4)
    memory[0, 2] = 0.95
    scores = torch.tensor([[0.5, 0.0, 2.0, 0.0]], requires_grad=True)
    (-scores.log_softmax(1)[0, 0] + 3 * pull(scores.softmax(1), memory).sum()).backward()
    assert scores.grad is not None
    assert scores.grad[0, 2] < 0


def test_the_memory_is_a_running_mean_of_what_was_said_of_a_row(setting: Any, make_batch: Any) -> None:
    learner = Elr(setting, ElrOptions(beta=0.7))
    batch = make_batch()
    said = learner.scores(batch.views[0]).softmax(1).detach()
    learner(batch)
    torch.testing.assert_close(learner.memory[batch.rows], 0.3 * said)
    learner(batch)
    torch.testing.assert_close(learner.memory[batch.rows], 0.7 * 0.3 * said + 0.3 * said)
    others = torch.ones(20, dtype=torch.bool)
    others[batch.rows] = False
    assert (learner.memory[others] == 0).all()


def test_without_weight_it_is_the_cross_entropy(setting: Any, make_batch: Any) -> None:
    batch = make_batch()
    learner = Elr(setting, ElrOptions(weight=0))
    expected = torch.nn.functional.cross_entropy(learner.scores(batch.views[0]), batch.targets.argmax(1))
    torch.testing.assert_close(learner(batch), expected)
