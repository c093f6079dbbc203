"""BYOL."""

import math

import pytest
import torch
from torch.nn.functional import cosine_similarity

from stages.networks.encoder import Encoder, EncoderDescription
from stages.represent.core import rising_momentum
from stages.represent.methods.byol import Byol
from stages.represent.options import ByolOptions

SMALL = EncoderDescription(backbone="small_cnn", width=8, image_size=8, mean=(0.5,) * 3, std=(0.2,) * 3)


def make() -> Byol:
    torch.manual_seed(0)
    method = Byol(Encoder(SMALL), ByolOptions(hidden_dim=16, projection_dim=8, momentum=0.8)).eval()
    with torch.no_grad():
        for weight in method.head.parameters():
            weight.add_(torch.randn_like(weight))
    return method


def test_the_loss_is_that_of_a_slow_loop_over_predictions_and_the_teachers_projections() -> None:
    method, views = make(), torch.rand(2 * 3, 3, 8, 8)
    loss = method(views, done=1.0)  # at the end the teacher stands still
    predicted, taught = method.predictor(method.head(method.encoder(views))), method.teacher(views)
    terms = [-cosine_similarity(predicted[i], taught[(i + 3) % 6], dim=0) for i in range(6)]
    assert torch.allclose(loss, torch.stack(terms).mean(), atol=1e-6)


@pytest.mark.parametrize("done", [0.0, 0.3, 1.0])
def test_the_teacher_follows_the_more_slowly_the_more_is_done(done: float) -> None:
    method = make()
    student, before = [p.detach().clone() for p in method.head.parameters()], list(method.teacher[1].parameters())
    before = [p.clone() for p in before]
    momentum = 1 - 0.2 * (math.cos(math.pi * done) + 1) / 2
    assert rising_momentum(0.8, done) == pytest.approx(momentum)
    method(torch.rand(4, 3, 8, 8), done=done).backward()
    for old, now, target in zip(before, method.teacher[1].parameters(), student, strict=True):
        assert torch.allclose(now, momentum * old + (1 - momentum) * target, atol=1e-6)
        assert now.grad is None
