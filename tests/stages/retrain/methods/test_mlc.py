"""How MLC learns its noise matrix."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from stages.retrain.methods.mlc import Mlc
from stages.retrain.options import MlcOptions

TRUSTED = (torch.randn(5, 3, generator=torch.Generator().manual_seed(9)), torch.tensor([0, 1, 2, 3, 1]))


def judged(learner: Mlc, batch: Any, matrix: Tensor) -> Tensor:
    """Take the inner step with a matrix by hand, and judge it by the trusted rows."""
    network = learner.networks[0]
    likely = torch.softmax(network(batch.views[0]), 1) @ torch.softmax(matrix, 1)
    loss = -(likely * batch.targets).sum(1).log().mean()
    gradients = torch.autograd.grad(loss, list(network.parameters()), create_graph=True)
    weights = {
        name: value - learner.options.inner_rate * gradient
        for (name, value), gradient in zip(network.named_parameters(), gradients, strict=True)
    }
    return functional.cross_entropy(torch.func.functional_call(network, weights, (TRUSTED[0],)), TRUSTED[1])


@pytest.fixture
def learner(setting: Any) -> Callable[..., Mlc]:
    return lambda **options: Mlc(setting, MlcOptions(warmup=0.0, inner_rate=0.5, matrix_rate=10.0, **options))


def test_the_matrix_moves_along_the_gradient_through_the_step(learner: Any, make_batch: Any) -> None:
    mlc, batch = learner(), make_batch(trusted=TRUSTED)
    before = mlc.matrix.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(judged(mlc, batch, before), before)
    assert gradient.abs().max() > 1e-4
    mlc(batch)
    torch.testing.assert_close(mlc.matrix, before.detach() - 10.0 * gradient, atol=1e-5, rtol=1e-3)
    assert judged(mlc, batch, mlc.matrix) < judged(mlc, batch, before)


def test_that_gradient_is_that_of_finite_differences(learner: Any, make_batch: Any) -> None:
    mlc, batch = learner(), make_batch(trusted=TRUSTED)
    before = mlc.matrix.clone()
    mlc(batch)
    moved = (before - mlc.matrix) / 10.0
    for place in ((0, 0), (1, 2), (3, 1)):
        shift = torch.zeros_like(before)
        shift[place] = 0.05
        slope = (judged(mlc, batch, before + shift) - judged(mlc, batch, before - shift)) / 0.1
        assert moved[place].item() == pytest.approx(slope.item(), rel=0.02, abs=2e-5)


def test_the_first_matrix_says_the_noise_that_the_label_table_tells(learner: Any) -> None:
    torch.testing.assert_close(torch.softmax(learner().matrix, 1).diagonal(), torch.full((4,), 0.6))


def test_a_matrix_that_is_not_remembered_starts_anew(learner: Any, make_batch: Any) -> None:
    batch = make_batch(trusted=TRUSTED)
    forgets, remembers = learner(remember=False), learner(remember=True)
    for mlc in (forgets, remembers):
        mlc(batch)
        once = mlc.matrix.clone()
        mlc(batch)
        assert torch.equal(once, mlc.matrix) == (mlc is forgets)


def test_the_network_learns_through_the_matrix(learner: Any, make_batch: Any) -> None:
    mlc, batch = learner(), make_batch(trusted=TRUSTED)
    loss = mlc(batch)
    likely = mlc.networks[0](batch.views[0]).softmax(1) @ mlc.matrix.softmax(1)
    torch.testing.assert_close(loss, -(likely * batch.targets).sum(1).log().mean())
