"""Barlow Twins."""

import torch

from stages.networks.encoder import Encoder, EncoderDescription
from stages.represent.methods.barlow_twins import BarlowTwins
from stages.represent.options import BarlowTwinsOptions

SMALL = EncoderDescription(backbone="small_cnn", width=8, image_size=8, mean=(0.5,) * 3, std=(0.2,) * 3)


def test_the_loss_is_that_of_a_slow_loop_over_the_cross_correlation() -> None:
    torch.manual_seed(0)
    options = BarlowTwinsOptions(hidden_dim=16, projection_dim=8, redundancy=0.05)
    method, views = BarlowTwins(Encoder(SMALL), options).eval(), torch.rand(2 * 6, 3, 8, 8)
    first, second = method.head(method.encoder(views)).detach().double().chunk(2)
    expected = 0.0
    for i in range(8):
        for j in range(8):
            a, b = first[:, i], second[:, j]
            covariance = ((a - a.mean()) * (b - b.mean())).mean()
            correlation = float(covariance / ((a.var(correction=0) + 1e-5) * (b.var(correction=0) + 1e-5)).sqrt())
            expected += (1 - correlation) ** 2 if i == j else 0.05 * correlation**2
    assert abs(float(method(views).detach()) - expected) < 1e-3 * expected


def test_views_that_agree_in_numbers_that_differ_cost_nothing() -> None:
    method = BarlowTwins(Encoder(SMALL), BarlowTwinsOptions(hidden_dim=8, projection_dim=8))
    signs = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    assert float(method.loss(signs, 3 * signs)) < 1e-6
    assert float(method.loss(signs, signs.flip(1))) > 1.9
