"""patches: its mathematics, its limits, and that it tells images apart without labels."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.artifacts import Artifact, Ref
from stages.images.augmentation import Augmentation
from stages.networks.patches import FLAT, ROOT, PatchNetwork, PatchShape
from stages.represent.config import RepresentConfig
from stages.represent.methods.patches import (
    Moments,
    choose_atoms,
    draw_patches,
    fit_whitening,
    invariant_directions,
    leading_eigenpairs,
    normalise_contrast,
    set_filters,
    set_projection,
    thresholds,
)
from stages.represent.options import PatchesOptions

TARGET, OTHER = Ref(kind="encoders", key="e" * 32), Ref(kind="encoders", key="f" * 32)
HOW = Augmentation(crop_scale=0.8, flip=False, shift=0.1, colour=0.5, grey=0.2)
CONFIG = RepresentConfig(
    method="patches", image_size=8, augmentation=HOW, patches=PatchesOptions(atoms=32, patch_size=3, dim=16)
)
MakeImages = Callable[[Sequence[np.ndarray | None]], Artifact]
RunStage = Callable[..., Artifact]


def seeded(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def network_of(images: Tensor, **shape: Any) -> PatchNetwork:
    chosen = {"atoms": 12, "patch_size": 3, "stride": 1, "grid": 2, "dim": 6} | shape
    network = PatchNetwork(PatchShape.model_validate(chosen))
    set_filters(network, images, 500, seeded())
    return network


def test_patches_are_cut_out_of_the_images() -> None:
    images = torch.arange(2 * 3 * 5 * 6).float().view(2, 3, 5, 6)
    all_of_them = images.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 12)
    drawn = draw_patches(images, 2, 400, seeded())
    assert {tuple(p.tolist()) for p in drawn} == {tuple(p.tolist()) for p in all_of_them}


def test_whitening_makes_the_covariance_the_identity() -> None:
    patches = torch.randn(4000, 12, generator=seeded()) @ torch.randn(12, 12, generator=seeded(1)) + 3
    whitened = fit_whitening(patches, floor=0.0).apply(patches)
    assert torch.allclose(whitened.mean(dim=0), torch.zeros(12), atol=1e-3)
    assert torch.allclose(torch.cov(whitened.T, correction=0), torch.eye(12), atol=1e-2)


def test_whitening_of_patches_that_are_all_the_same_is_finite() -> None:
    assert torch.isfinite(fit_whitening(torch.ones(10, 4)).apply(torch.ones(10, 4))).all()


def test_the_convolution_compares_every_whitened_patch_with_every_atom() -> None:
    images = torch.rand(4, 3, 8, 8, generator=seeded(2))
    network, generator = network_of(images), seeded()
    drawn = normalise_contrast(draw_patches(images, 3, 500, generator))
    whitening = fit_whitening(drawn)
    atoms = choose_atoms(whitening.apply(drawn), 12)
    limits = thresholds(atoms, whitening.apply(drawn)[-250:])
    expected = torch.zeros(4, 12, 2, 2)
    for number, image in enumerate(images):
        for row in range(6):
            for column in range(6):
                patch = image[:, row : row + 3, column : column + 3].flatten()
                patch = (patch - patch.mean()) / (patch.var(correction=0) + FLAT**2).sqrt()
                answer = (atoms @ whitening.apply(patch) - limits).clamp(min=0)
                expected[number, :, row // 3, column // 3] += answer / 9
    colours = images.unflatten(2, (2, 4)).unflatten(4, (2, 4)).mean(dim=(3, 5)).flatten(1)
    found = torch.cat([(expected.flatten(1) + ROOT).sqrt(), colours], dim=1)
    assert torch.allclose(network.codes(images), found, atol=1e-3)


def test_atoms_answer_to_the_wanted_share_of_patches() -> None:
    patches = torch.randn(1000, 5, generator=seeded())
    atoms = choose_atoms(patches, 7)
    shares = (atoms @ patches.T > thresholds(atoms, patches, 0.1)[:, None]).float().mean(dim=1)
    assert torch.allclose(shares, torch.full((7,), 0.1), atol=2e-3)


def test_brightness_and_contrast_of_the_whole_image_hardly_change_the_answers() -> None:
    images = torch.rand(6, 3, 8, 8, generator=seeded())
    network = network_of(images)
    answers = [network.codes(some)[:, : 12 * 4] for some in (images, images * 0.8 + 0.1, images.flip(0))]
    assert torch.allclose(answers[0], answers[1], atol=0.1)
    assert not torch.allclose(answers[0], answers[2], atol=0.1)


def test_an_image_and_its_mirror_image_get_one_code_where_that_is_wanted() -> None:
    images = torch.rand(4, 3, 8, 8, generator=seeded())
    plain, both = network_of(images), network_of(images, mirror=True)
    as_it_is, mirrored = plain.codes(images), plain.codes(images.flip(3))
    assert not torch.allclose(as_it_is, mirrored, atol=0.1)
    assert torch.allclose(both.codes(images), both.codes(images.flip(3)), atol=1e-5)
    means = (as_it_is[:, : 12 * 4].square() + mirrored[:, : 12 * 4].square()) / 2  # before the root
    assert torch.allclose(both.codes(images)[:, : 12 * 4].square(), means, atol=1e-5)
    assert torch.allclose(both.codes(images)[:, 12 * 4 :], (as_it_is + mirrored)[:, 12 * 4 :] / 2, atol=1e-5)


def test_bfloat16_where_it_is_fast_changes_codes_by_little(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.rand(4, 3, 8, 8, generator=seeded())
    full, mixed = (network_of(images, mixed=wanted).codes for wanted in (False, True))
    monkeypatch.setattr("stages.networks.devices.computes_bfloat16", lambda _: True)
    with torch.no_grad():
        expected = full(images)
        assert 0 < float((mixed(images) - expected).abs().max()) < 0.1 * float(expected.std())
        monkeypatch.setattr("stages.networks.devices.computes_bfloat16", lambda _: False)
        assert torch.equal(mixed(images), expected)


def test_moments_are_those_of_a_slow_loop() -> None:
    codes = torch.randn(30, 3, 4, generator=seeded()) + torch.randn(30, 1, 4, generator=seeded(1)) + 5
    moments = Moments(4, codes.device)
    for some in codes.split(7):
        moments.add(some)
    means = codes.mean(dim=1)
    within = torch.stack([torch.cov(views.T, correction=1) for views in codes]).mean(dim=0)
    between, found = moments.covariances()
    assert torch.allclose(found, within, atol=1e-4)
    assert torch.allclose(between, torch.cov(means.T, correction=0) - within / 3, atol=1e-4)
    assert torch.allclose(moments.mean, codes.mean(dim=(0, 1)), atol=1e-5)


def test_directions_solve_the_generalised_eigenvalue_equation() -> None:
    draws = torch.randn(3, 200, 20, generator=seeded())
    between, within = draws[0].T @ draws[0] / 200, (draws[1] * torch.arange(1, 21)).T @ (draws[1]) / 200
    within = (within + within.T) / 2 + 20 * torch.eye(20)
    values, vectors = invariant_directions(between, within, 8, ridge=0.5)
    raised = within + (0.5 * within.diagonal().mean() + 1e-4 * between.diagonal().mean()) * torch.eye(20)
    assert torch.allclose(between @ vectors, raised @ vectors * values, atol=1e-3)
    assert torch.allclose(vectors.T @ raised @ vectors, torch.eye(8), atol=1e-3)
    assert (values.diff() <= 1e-6).all()


def test_what_only_the_views_change_is_left_out_and_what_only_the_images_change_stays() -> None:
    images, views = torch.randn(400, 1, 1, generator=seeded()), torch.randn(400, 2, 1, generator=seeded(1))
    moments = Moments(5, images.device)  # of two atoms, and three colours that never change
    moments.add(torch.cat([images.expand(400, 2, 1), 5 * views, torch.ones(400, 2, 3)], dim=2))
    network = PatchNetwork(PatchShape(atoms=2, patch_size=1, stride=1, grid=1, dim=1))
    with torch.no_grad():
        set_projection(network, moments)
    kept, dropped = network.projection.weight[0, :2].abs()
    assert kept > 20 * dropped


def test_subspace_iteration_finds_what_a_whole_decomposition_finds() -> None:
    basis = torch.linalg.qr(torch.randn(120, 120, generator=seeded())).Q
    matrix = basis @ torch.diag(0.9 ** torch.arange(120.0)) @ basis.T
    values, vectors = leading_eigenpairs(matrix, 10)
    assert torch.allclose(values, 0.9 ** torch.arange(10.0), atol=1e-3)
    assert torch.allclose((vectors.T @ basis[:, :10]).abs().diagonal(), torch.ones(10), atol=2e-2)


def test_what_is_said_about_training_does_not_name_another_encoder() -> None:
    said = {"epochs": 3, "backbone": "resnet18", "learning_rate": 1.0, "batch_size": 8}
    assert CONFIG.model_copy(update=said).identity() == CONFIG.identity()
    for field, value in {
        "seed": 1,
        "image_size": 12,
        "augmentation": Augmentation(),
        "precision": "full",
        "patches": PatchesOptions(),
    }.items():
        assert CONFIG.model_copy(update={field: value}).identity() != CONFIG.identity()


def test_gradients_reach_every_weight_even_where_no_atom_answers() -> None:
    network = network_of(torch.rand(4, 3, 8, 8, generator=seeded()))
    network(torch.zeros(2, 3, 8, 8)).square().sum().backward()
    network(torch.rand(2, 3, 8, 8, generator=seeded(1))).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
