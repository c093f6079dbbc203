"""DINO."""

import pytest
import torch
from torch import Tensor

from stages.images.augmentation import Augmentation
from stages.networks.encoder import Encoder, EncoderDescription
from stages.represent.methods.dino import Dino, windows
from stages.represent.options import DinoOptions

SMALL = EncoderDescription(backbone="small_cnn", width=8, image_size=8, mean=(0.5,) * 3, std=(0.2,) * 3)
PLAIN = Augmentation(crop_scale=1.0, crop_ratio=1.0, flip=False, colour=0, grey=0)


def make(**options: object) -> Dino:
    torch.manual_seed(0)
    small = {"hidden_dim": 16, "bottleneck_dim": 8, "groups": 12, "momentum": 0.8}
    method = Dino(Encoder(SMALL), DinoOptions.model_validate(small | options)).eval()
    with torch.no_grad():
        for weight in method.head.layers.parameters():
            weight.add_(torch.randn_like(weight))
    return method


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("local_views", [0, 2])
def test_the_loss_is_that_of_a_slow_loop_over_pairs_of_views(local_views: int) -> None:
    method, images = make(local_views=local_views, teacher_temperature=0.05), torch.rand(3, 3, 8, 8)
    views = (torch.cat([images, images.flip(3)]), *method.further_views(images, PLAIN, generator()))
    method.loss.center.add_(torch.randn_like(method.loss.center))
    centre = method.loss.center.clone().flatten()
    loss = method(*views, done=1.0)  # at the end the teacher stands still
    taught = method.teacher(views[0]).view(2, 3, -1)
    seen = torch.cat([method.head(method.encoder(some)) for some in views]).view(2 + local_views, 3, -1)
    losses: list[Tensor] = []
    for t in range(2):
        for s in range(2 + local_views):
            for image in range(3):
                if s != t:
                    target = torch.softmax((taught[t, image] - centre) / 0.05, dim=0)
                    losses.append(-(target * torch.log_softmax(seen[s, image] / 0.1, dim=0)).sum())
    assert torch.allclose(loss, torch.stack(losses).mean(), atol=1e-4)


def test_the_centre_follows_the_teachers_mean_after_each_step() -> None:
    method = make(centre_momentum=0.7)
    expected = torch.zeros(12)
    for _ in range(3):
        views = torch.rand(4, 3, 8, 8)
        method(views, done=1.0)
        expected = 0.7 * expected + 0.3 * method.teacher(views).mean(dim=0)
    assert torch.allclose(method.loss.center.flatten(), expected, atol=1e-6)


def test_the_teacher_follows_the_student_and_is_what_training_was_for() -> None:
    method = make()
    student, before = list(method.head.layers.parameters()), [p.clone() for p in method.teacher[1].layers.parameters()]
    method(torch.rand(4, 3, 8, 8), done=0.0)
    for old, now, target in zip(before, method.teacher[1].layers.parameters(), student, strict=True):
        assert torch.allclose(now, 0.8 * old + 0.2 * target, atol=1e-6)
    assert method.result is method.teacher[0]


def test_the_groups_stay_as_drawn_in_the_first_steps() -> None:
    method, views = make(freeze_groups=0.1), torch.rand(4, 3, 8, 8)
    groups = method.head.get_parameter("last_layer.weight_v")
    method(views, done=0.05).backward()
    assert groups.grad is None
    method(views, done=0.1).backward()
    assert groups.grad is not None


def test_windows_are_pieces_of_their_images() -> None:
    across = torch.linspace(0, 1, 16).expand(40, 3, 16, 16)
    pieces = windows(across, 0.5, generator())
    assert pieces.shape == (40, 3, 8, 8)
    steps = pieces.diff(dim=3)
    assert torch.allclose(steps, torch.full_like(steps, 1 / 15), atol=1e-4)  # as large as life
    starts = pieces[:, 0, 0, 0]
    assert 0 <= starts.min() < 0.1
    assert 0.4 < starts.max() <= 0.6


def test_local_views_are_small_and_as_many_as_asked_for() -> None:
    images = torch.rand(5, 3, 32, 32)
    (local,) = make(local_views=3).further_views(images, PLAIN, generator())
    assert local.shape == (15, 3, 20, 20)
    assert make().further_views(images, PLAIN, generator()) == ()
