"""SimSiam."""

import torch
from torch.nn.functional import cosine_similarity

from stages.networks.encoder import Encoder, EncoderDescription
from stages.represent.methods.simsiam import SimSiam
from stages.represent.options import SimsiamOptions

SMALL = EncoderDescription(backbone="small_cnn", width=8, image_size=8, mean=(0.5,) * 3, std=(0.2,) * 3)


def make(layers: int = 2) -> SimSiam:
    torch.manual_seed(0)
    return SimSiam(Encoder(SMALL), SimsiamOptions(layers=layers, hidden_dim=16, projection_dim=16, predictor_dim=8))


def test_the_loss_and_its_gradient_are_those_of_a_slow_loop_with_the_targets_held() -> None:
    method, views = make().eval(), torch.rand(2 * 3, 3, 8, 8)
    projected = method.head(method.encoder(views))
    predicted = method.predictor(projected)
    pairs = [(predicted[i], projected[(i + 3) % 6].detach()) for i in range(6)]
    expected = torch.stack([-cosine_similarity(p, z, dim=0) for p, z in pairs]).mean()
    wanted = torch.autograd.grad(expected, list(method.parameters()))
    loss = method(views)
    assert torch.allclose(loss, expected, atol=1e-6)
    for found, target in zip(torch.autograd.grad(loss, list(method.parameters())), wanted, strict=True):
        assert torch.allclose(found, target, atol=1e-6)


def test_the_head_has_as_many_layers_as_asked_for_and_ends_in_a_plain_norm() -> None:
    for layers in (2, 3):
        parts = list(make(layers).head.layers)
        assert sum(isinstance(part, torch.nn.Linear) for part in parts) == layers
        assert isinstance(parts[-1], torch.nn.BatchNorm1d)
        assert not parts[-1].affine
