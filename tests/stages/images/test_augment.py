"""Augmentation of whole batches: every image by its own parameters, the same ones for the same generator."""

import math

import pytest
import torch

from stages.images.augment import LUMA, affine_maps, augment, blur, jitter_matrices, recolour
from stages.images.augmentation import Augmentation

STILL = Augmentation(crop_scale=1, flip=False, colour=0, grey=0)
STRONG = Augmentation(crop_scale=0.3, flip=True, rotation=20, shift=0.1, colour=1, grey=0.3, blur=0.5)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 6, size: int = 12) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=generator(99))


def changed(how: dict[str, float | bool]) -> Augmentation:
    return STILL.model_copy(update=how)


def test_with_everything_off_images_stay_as_they_are() -> None:
    assert torch.equal(augment(pictures(), STILL, generator()), pictures())


def test_views_stay_images_and_leave_their_source_untouched() -> None:
    images = pictures()
    views = augment(images, STRONG, generator())
    assert views.shape == images.shape
    assert 0 <= float(views.min()) <= float(views.max()) <= 1
    assert torch.equal(images, pictures())


def test_the_same_generator_makes_the_same_views_and_another_does_not() -> None:
    first, again, other = (augment(pictures(), STRONG, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_every_image_of_a_batch_is_changed_in_its_own_way() -> None:
    views = augment(pictures(1).repeat(8, 1, 1, 1), STRONG, generator())
    distance = torch.pdist(views.flatten(1))
    assert float(distance.min()) > 0.01


def test_an_image_s_view_does_not_depend_on_the_others_in_the_batch() -> None:
    images = pictures()
    others = torch.cat([torch.zeros_like(images[:3]), images[3:]])
    assert torch.allclose(augment(images, STRONG, generator())[3:], augment(others, STRONG, generator())[3:], atol=1e-6)


def test_a_mirror_turns_about_half_of_the_images_exactly() -> None:
    images = pictures(64)
    views = augment(images, changed({"flip": True}), generator())
    mirrored = [torch.allclose(v, i.flip(2), atol=1e-5) for v, i in zip(views, images, strict=True)]
    still = [torch.allclose(v, i, atol=1e-5) for v, i in zip(views, images, strict=True)]
    assert all(m != s for m, s in zip(mirrored, still, strict=True))
    assert 16 < sum(mirrored) < 48


def test_a_crop_keeps_the_promised_area_and_stays_inside() -> None:
    maps = affine_maps(2000, changed({"crop_scale": 0.25, "crop_ratio": 0.5}), generator())
    width, height, x, y = maps[:, 0, 0], maps[:, 1, 1], maps[:, 0, 2], maps[:, 1, 2]
    area, ratio = width * height, width / height
    assert 0.2 < float(area.min()) < 0.3  # sides longer than the image are cut, so that a little may be lost
    assert float(area.max()) > 0.85
    assert float((area - 0.25).clamp(max=0).abs().mean()) < 1e-3
    assert 0.49 < float(ratio.min()) < float(ratio.max()) < 2.01
    assert bool((x.abs() + width <= 1 + 1e-5).all())
    assert bool((y.abs() + height <= 1 + 1e-5).all())


def test_a_rotation_keeps_lengths() -> None:
    maps = affine_maps(500, changed({"rotation": 30}), generator())[:, :, :2]
    assert torch.allclose(maps @ maps.mT, torch.eye(2).expand(500, 2, 2), atol=1e-5)
    angles = torch.atan2(maps[:, 1, 0], maps[:, 0, 0]) * 180 / math.pi
    assert -30.01 < float(angles.min()) < -25
    assert 25 < float(angles.max()) < 30.01


def test_a_shift_brings_in_black() -> None:
    views = augment(torch.ones(32, 3, 10, 10), changed({"shift": 0.3}), generator())
    blackened = (views.sum(dim=1) == 0).flatten(1).any(dim=1)
    assert int(blackened.sum()) > 16


def test_grey_images_have_equal_channels() -> None:
    views = recolour(pictures(), changed({"grey": 1.0}), generator())
    luma = torch.einsum("nchw,c->nhw", pictures(), torch.tensor(LUMA))
    assert torch.allclose(views, luma.unsqueeze(1).expand_as(views), atol=1e-5)


def test_the_colour_matrix_does_what_a_slow_loop_over_the_effects_does() -> None:
    """Brightness, contrast and saturation as in torchvision, hue switched off by taking the chroma's length only."""
    strength, count = 0.5, 16
    matrix, lift = jitter_matrices(count, strength, generator())
    draws = generator()
    jittered = torch.rand(count, generator=draws) < 0.8
    factors = [torch.rand(count, generator=draws) * 0.8 + 0.6 for _ in range(3)]
    luma, grey = torch.tensor(LUMA), torch.full((3,), 0.3)
    for i in range(count):
        brightness, contrast, _ = (float(f[i]) if jittered[i] else 1.0 for f in factors)
        expected = contrast * brightness * grey  # a grey pixel has no chroma to scale or turn
        assert torch.allclose(matrix[i] @ grey, expected, atol=1e-3)
        assert float(lift[i]) == pytest.approx(brightness * (1 - contrast), abs=1e-5)
        colour = torch.tensor([0.9, 0.2, 0.4])
        assert float(luma @ matrix[i] @ colour) == pytest.approx(contrast * brightness * float(luma @ colour), abs=1e-3)


def test_a_blur_keeps_flat_images_and_smooths_noise() -> None:
    flat = torch.full((4, 3, 80, 80), 0.4)
    assert torch.allclose(blur(flat, 1.0, generator()), flat, atol=1e-5)
    noise = pictures(4, 80)
    assert torch.allclose(blur(noise, 0.0, generator()), noise, atol=1e-6)
    roughness = blur(noise, 1.0, generator()).diff(dim=3).abs().mean(dim=(1, 2, 3)) / noise.diff(dim=3).abs().mean()
    assert bool((roughness < 1.01).all())
    assert float(roughness.min()) < 0.5
