"""How MSLG learns its soft labels."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from stages.retrain.methods.mslg import Mslg
from stages.retrain.options import MslgOptions

TRUSTED = (torch.randn(5, 3, generator=torch.Generator().manual_seed(9)), torch.tensor([0, 1, 2, 3, 1]))


def judged(learner: Mslg, batch: Any, logits: Tensor) -> Tensor:
    """Take the inner step on soft labels by hand, and judge it by the trusted rows."""
    network = learner.networks[0]
    log_f = network(batch.views[0]).log_softmax(1)
    loss = (log_f.exp() * (log_f - logits.log_softmax(1))).mean()  # over rows and classes, as in the paper
    gradients = torch.autograd.grad(loss, list(network.parameters()), create_graph=True)
    weights = {
        name: value - learner.options.inner_rate * gradient
        for (name, value), gradient in zip(network.named_parameters(), gradients, strict=True)
    }
    return functional.cross_entropy(torch.func.functional_call(network, weights, (TRUSTED[0],)), TRUSTED[1])


def test_labels_move_along_the_gradient_through_the_step_and_are_kept_by_row(setting: Any, make_batch: Any) -> None:
    learner = Mslg(setting, MslgOptions(warmup=0.0, sharpness=2.0))
    batch = make_batch(trusted=TRUSTED)
    first = (2.0 * batch.targets).requires_grad_()
    (gradient,) = torch.autograd.grad(judged(learner, batch, first), first)
    assert gradient.abs().max() > 1e-5
    learner(batch)
    torch.testing.assert_close(learner.moved[batch.rows], -6 * 31.25 * gradient, atol=1e-5, rtol=1e-3)
    others = torch.ones(20, dtype=torch.bool)
    others[batch.rows] = False
    assert (learner.moved[others] == 0).all()


def test_that_gradient_is_that_of_finite_differences(setting: Any, make_batch: Any) -> None:
    learner = Mslg(setting, MslgOptions(warmup=0.0, sharpness=2.0, inner_rate=5.0))
    batch = make_batch(trusted=TRUSTED)
    learner(batch)
    slope_found = -learner.moved[batch.rows] / (6 * 31.25)
    for place in ((0, 0), (2, 1), (5, 3)):
        shift = torch.zeros(6, 4)
        shift[place] = 0.05
        first = 2.0 * batch.targets
        slope = (judged(learner, batch, first + shift) - judged(learner, batch, first - shift)) / 0.1
        assert slope_found[place].item() == pytest.approx(slope.item(), rel=0.02, abs=2e-5)


def test_the_network_learns_the_reverse_cross_entropy_of_the_new_labels(setting: Any, make_batch: Any) -> None:
    learner, batch = Mslg(setting, MslgOptions(warmup=0.0)), make_batch(trusted=TRUSTED)
    loss = learner(batch)
    labels = (10.0 * batch.targets + learner.moved[batch.rows]).log_softmax(1)
    said = learner.networks[0](batch.views[0]).softmax(1)
    torch.testing.assert_close(loss, -(said * labels).sum(1).mean())


def test_the_warm_up_is_the_cross_entropy(setting: Any, make_batch: Any) -> None:
    learner, batch = Mslg(setting, MslgOptions(warmup=0.6)), make_batch(done=0.5, trusted=TRUSTED)
    expected = functional.cross_entropy(learner.networks[0](batch.views[0]), batch.targets.argmax(1))
    torch.testing.assert_close(learner(batch), expected)
    assert (learner.moved == 0).all()
