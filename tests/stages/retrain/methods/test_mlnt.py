"""The meta gradient of MLNT, with and without the second order."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.retrain.methods.mlnt import Mlnt, meta_gradient, misled, nearest
from stages.retrain.options import MlntOptions
from stages.training.meta.look_ahead import as_function

INNER = 0.7


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4)).double()


def problem() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(6, 3, generator=generator).double()
    labels = functional.one_hot(torch.tensor([0, 1, 2, 3, 0, 1]), 4).double()
    return inputs, labels, torch.randn(6, 4, generator=generator).double().softmax(1)


def after_step(network: nn.Module, inputs: Tensor, labels: Tensor) -> list[Tensor]:
    """Take the inner step by hand."""
    loss = functional.cross_entropy(network(inputs), labels)
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    return [p.detach() - INNER * g for p, g in zip(network.parameters(), gradients, strict=True)]


def distance_of(network: nn.Module, weights: list[Tensor], inputs: Tensor, wanted: Tensor) -> Tensor:
    values = {name: w for (name, _), w in zip(network.named_parameters(), weights, strict=True)}
    said = torch.func.functional_call(network, values, (inputs,)).log_softmax(1)
    return (wanted * (wanted.log() - said)).sum() / wanted.numel()


def test_the_second_order_gradient_is_that_of_finite_differences(network: nn.Module) -> None:
    inputs, labels, wanted = problem()
    options = MlntOptions(inner_rate=INNER, second_order=True)
    found = meta_gradient(as_function(network), inputs, labels, wanted, options)
    for name, parameter in network.named_parameters():
        for place in [(0,) * parameter.ndim, tuple(d - 1 for d in parameter.shape)]:
            values = []
            for shift in (1e-5, -1e-5):
                with torch.no_grad():
                    parameter[place] += shift
                values.append(distance_of(network, after_step(network, inputs, labels), inputs, wanted).item())
                with torch.no_grad():
                    parameter[place] -= shift
            assert found[name][place].item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-4, abs=1e-9)


def test_the_first_order_gradient_is_that_at_the_end_of_the_step(network: nn.Module) -> None:
    inputs, labels, wanted = problem()
    weights = [w.requires_grad_() for w in after_step(network, inputs, labels)]
    expected = torch.autograd.grad(distance_of(network, weights, inputs, wanted), weights)
    results = {}
    for second_order in (True, False):
        options = MlntOptions(inner_rate=INNER, second_order=second_order)
        results[second_order] = meta_gradient(as_function(network), inputs, labels, wanted, options)
    for (name, _), gradient in zip(network.named_parameters(), expected, strict=True):
        torch.testing.assert_close(results[False][name], gradient)
    assert any((results[True][name] - results[False][name]).abs().max() > 1e-3 for name in results[True])


def test_a_meta_step_moves_the_weights_by_the_mean_over_all_sets(
    setting: Any, make_batch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.retrain.methods.mlnt.seen_as", lambda _, inputs: inputs)
    learner = Mlnt(setting, MlntOptions(sets=4))
    seen: list[Tensor] = []

    def noted(network: Any, *arguments: Any) -> dict[str, Tensor]:
        seen.append(network[1]["weight"].clone())
        return {name: torch.full_like(value, 2.0) for name, value in network[1].items()}

    monkeypatch.setattr("stages.retrain.methods.mlnt.meta_gradient", noted)
    before = learner.networks[0].get_parameter("weight").detach().clone()
    learner.meta_step(make_batch(), rate=0.1)
    assert len(seen) == 4
    assert all(torch.equal(weights, before) for weights in seen)  # all sets start from the same weights
    torch.testing.assert_close(learner.networks[0].get_parameter("weight").detach(), before - 0.2)


def test_a_share_of_the_rows_takes_the_label_of_a_near_row() -> None:
    points = torch.tensor([[0.0], [0.1], [5.0], [5.1], [9.0], [9.1]])
    near = nearest(points, 1)
    assert near.flatten().tolist() == [1, 0, 3, 2, 5, 4]
    rows = misled(near, 0.5, torch.Generator().manual_seed(0))
    changed = rows != torch.arange(6)
    assert changed.sum() == 3
    assert torch.equal(rows[changed], near.flatten()[changed])
