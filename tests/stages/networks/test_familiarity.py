"""Does a network see images as it was trained to? Its first batch norm tells, without labels."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stages.networks.backbones import build_backbone
from stages.networks.familiarity import KNOWN, doubts, median_divergence, strangeness
from stages.networks.preprocessing import HALF, IMAGENET, NONE, own_preprocessing


def pictures(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 5, generator=generator)
    return nn.functional.interpolate(coarse, size=(32, 32), mode="bilinear")


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    """A network whose batch norms have seen pictures in -1..1."""
    torch.manual_seed(0)
    network, _ = build_backbone("resnet18", 32)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = None  # the mean of all batches
    with torch.no_grad():
        for seed in range(10):
            network((pictures(16, seed) - 0.5) / 0.5)
    return network.eval()


def test_pictures_like_those_of_the_training_are_familiar(trained: nn.Module) -> None:
    found, said = doubts(trained, pictures(64, 99), *HALF)
    assert found is not None
    assert found < 0.05
    assert said == ""


@pytest.mark.parametrize("name", [name for name in KNOWN if name != "half"])
def test_another_normalisation_is_strange_and_the_right_one_is_named(trained: nn.Module, name: str) -> None:
    found, said = doubts(trained, pictures(64, 99), *KNOWN[name])
    assert found is not None
    assert found > 0.2
    assert "represent.weights.normalise: half (mean [0.5, 0.5, 0.5], std [0.5, 0.5, 0.5])" in said


def test_a_scale_that_no_known_normalisation_explains_is_told(trained: nn.Module) -> None:
    _, said = doubts(trained, 1e4 * pictures(64, 99), *HALF)
    assert "another scale" in said


def test_a_network_without_batch_norm_tells_nothing() -> None:
    network, _ = build_backbone("timm/test_vit", 96)
    assert doubts(network.eval(), torch.rand(4, 3, 96, 96), *HALF) == (None, "")


def test_asking_leaves_the_network_as_it_was(trained: nn.Module) -> None:
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    strangeness(trained, pictures(8, 0), *NONE)
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())
    assert trained(pictures(2, 0)).shape == (2, 512)


def test_the_divergence_is_that_of_two_normal_distributions() -> None:
    norm = nn.BatchNorm1d(3, eps=0.0)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean += torch.tensor([1.0, 0.0, -2.0])
    norm.running_var *= torch.tensor([4.0, 1.0, 0.25])
    inputs = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0)) * 3 + 1
    m, v = inputs.double().mean(0), inputs.double().var(0, unbiased=False)
    stored = torch.distributions.Normal(norm.running_mean.double(), norm.running_var.double().sqrt())
    expected = torch.distributions.kl_divergence(torch.distributions.Normal(m, v.sqrt()), stored)
    assert median_divergence(norm, inputs) == pytest.approx(float(expected.median()), rel=1e-6)


@pytest.mark.parametrize(
    ("backbone", "size", "crop", "interpolation", "numbers"),
    [
        ("resnet50", 224, 224 / 232, "bilinear", IMAGENET),
        ("efficientnet_b0", 224, 224 / 256, "bicubic", IMAGENET),
        ("timm/tf_efficientnet_lite0", 224, 0.875, "bicubic", HALF),
        ("timm/vit_base_patch14_dinov2.lvd142m", 518, 1.0, "bicubic", IMAGENET),
        ("timm/resnet50.tv_in1k", 224, 0.875, "bilinear", IMAGENET),
    ],
)
def test_what_published_weights_want_is_known(
    backbone: str, size: int, crop: float, interpolation: str, numbers: tuple[object, object]
) -> None:
    own = own_preprocessing(backbone)
    assert own is not None
    assert (own.image_size, own.interpolation, (own.mean, own.std)) == (size, interpolation, numbers)
    assert np.isclose(own.crop, crop)


def test_the_small_cnn_has_no_preprocessing_of_its_own() -> None:
    assert own_preprocessing("small_cnn") is None
