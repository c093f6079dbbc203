"""The mathematics of plain supervised learning."""

import pytest
import torch
from torch.nn import functional

from stages.retrain.methods.cross_entropy import Mixing, draw_mixing, loss


@pytest.fixture
def scores() -> torch.Tensor:
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


def test_hard_targets_give_torchs_cross_entropy(scores: torch.Tensor) -> None:
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    ours = loss(scores, functional.one_hot(labels, 4).float(), torch.ones(6), smoothing=0.1)
    torch.testing.assert_close(ours, functional.cross_entropy(scores, labels, label_smoothing=0.1))


def test_the_loss_is_the_slow_weighted_sum(scores: torch.Tensor) -> None:
    targets = torch.rand(6, 4, generator=torch.Generator().manual_seed(1))
    weights = torch.tensor([1.0, 0.0, 0.5, 2.0, 1.0, 0.0])
    slow = sum(-weights[i] * targets[i, k] * scores.softmax(1)[i, k].log() for i in range(6) for k in range(4))
    torch.testing.assert_close(loss(scores, targets, weights), slow / weights.sum())


def test_the_gradient_vanishes_where_the_network_says_the_target(scores: torch.Tensor) -> None:
    free = scores.clone().requires_grad_()
    loss(free, scores.softmax(1), torch.rand(6, generator=torch.Generator().manual_seed(2))).backward()
    assert free.grad is not None
    torch.testing.assert_close(free.grad, torch.zeros_like(free))


def test_rows_without_weight_teach_nothing_even_all_together(scores: torch.Tensor) -> None:
    free = scores.clone().requires_grad_()
    total = loss(free, torch.full((6, 4), 0.25), torch.zeros(6))
    total.backward()
    assert total == 0
    assert free.grad is not None
    assert (free.grad == 0).all()


def test_mixing_keeps_its_share_and_is_drawn_from_the_generator() -> None:
    mixing = Mixing(0.75, torch.tensor([1, 0]))
    torch.testing.assert_close(mixing.mix(torch.tensor([[4.0], [8.0]])), torch.tensor([[5.0], [7.0]]))
    first, again = (draw_mixing(5, 0.4, torch.Generator().manual_seed(3)) for _ in range(2))
    assert first is not None
    assert again is not None
    assert first.keep == again.keep
    assert torch.equal(first.partner, again.partner)
    assert sorted(first.partner.tolist()) == list(range(5))
    assert draw_mixing(5, 0.0, torch.Generator()) is None
