"""SimCLR."""

import math

import torch

from stages.networks.encoder import Encoder, EncoderDescription
from stages.represent.methods.simclr import SimClr
from stages.represent.options import SimclrOptions

SMALL = EncoderDescription(backbone="small_cnn", width=8, image_size=8, mean=(0.5,) * 3, std=(0.2,) * 3)


def test_the_loss_is_that_of_a_slow_loop_over_all_pairs() -> None:
    torch.manual_seed(0)
    method = SimClr(Encoder(SMALL), SimclrOptions(temperature=0.3, hidden_dim=16, projection_dim=8)).eval()
    views = torch.rand(2 * 5, 3, 8, 8)
    unit = torch.nn.functional.normalize(method.head(method.encoder(views)), dim=1).tolist()
    terms = []
    for i, one in enumerate(unit):
        powers = [math.exp(sum(a * b for a, b in zip(one, other, strict=True)) / 0.3) for other in unit]
        terms.append(-math.log(powers[(i + 5) % 10] / (sum(powers) - powers[i])))
    assert abs(float(method(views).detach()) - sum(terms) / 10) < 1e-5


def test_every_weight_is_trained() -> None:
    torch.manual_seed(0)
    method = SimClr(Encoder(SMALL), SimclrOptions(hidden_dim=16, projection_dim=8))
    method(torch.rand(8, 3, 8, 8)).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in method.parameters())
