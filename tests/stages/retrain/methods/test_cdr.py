"""Which gradients CDR keeps."""

from typing import Any

import torch

from stages.retrain.methods.cdr import Cdr, thin_out
from stages.retrain.options import CdrOptions


def test_the_mask_keeps_the_largest_products_of_all_weights_together() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((4, 5), (3, 2, 3, 3))]
    for weight in weights:
        weight.grad = torch.randn(weight.shape, generator=generator)
    before = [weight.grad.clone() for weight in weights if weight.grad is not None]
    products = torch.cat([(w * g).abs().flatten() for w, g in zip(weights, before, strict=True)])
    kept = round(0.25 * len(products))
    least = products.sort(descending=True).values[kept - 1]
    thin_out(weights, 0.25)
    left = 0
    for weight, gradient in zip(weights, before, strict=True):
        expected = torch.where((weight * gradient).abs() >= least, 0.25 * gradient, 0.0)
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad, expected)
        left += int((weight.grad != 0).sum())
    assert left == kept


def test_biases_learn_as_ever(setting: Any, make_batch: Any) -> None:
    learner = Cdr(setting, CdrOptions(noise_rate=0.75))
    learner(make_batch()).backward()
    network = learner.networks[0]
    bias = network.get_parameter("bias").grad
    assert bias is not None
    before = bias.clone()
    learner.amend_gradients()
    torch.testing.assert_close(network.get_parameter("bias").grad, before)
    weight = network.get_parameter("weight").grad
    assert weight is not None
    assert int((weight != 0).sum()) == 3  # of 12


def test_without_noise_every_gradient_stays(setting: Any, make_batch: Any) -> None:
    learner = Cdr(setting.__class__(setting.build, 20, 4, 0.0), CdrOptions())
    learner(make_batch()).backward()
    before = [p.grad.clone() for p in learner.parameters() if p.grad is not None]
    learner.amend_gradients()
    for parameter, gradient in zip(learner.parameters(), before, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
