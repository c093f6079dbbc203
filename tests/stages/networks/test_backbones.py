"""Backbones by name: what is left of a classifier without its head, which stem, which sizes, what is refused."""

from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from pipeline.errors import ConfigError
from stages.networks.backbones import build_backbone

LAST_LAYER = {
    "resnet18": "fc", "regnet_y_400mf": "fc", "shufflenet_v2_x0_5": "fc", "mobilenet_v3_small": "classifier.3",
    "efficientnet_b0": "classifier.1", "mnasnet0_5": "classifier.1", "densenet121": "classifier",
}  # fmt: skip
SLOW_LAST_LAYER = {
    "convnext_tiny": "classifier.2", "swin_t": "head", "vit_b_32": "heads.head", "maxvit_t": "classifier.5",
    "vgg11_bn": "classifier.6", "alexnet": "classifier.6",
}  # fmt: skip


def assert_penultimate(name: str, layer: str) -> None:
    torch.manual_seed(0)
    whole: Any = torchvision.models.get_model(name, weights=None).eval()
    torch.manual_seed(0)
    backbone, dim = build_backbone(name, 224)
    backbone.eval()
    images, seen = torch.rand(2, 3, 224, 224), []
    whole.get_submodule(layer).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        whole(images)
        features = backbone(images)
    assert features.shape == (2, dim)
    assert torch.equal(features, seen[0])
    assert set(backbone.state_dict()) == {n for n in whole.state_dict() if not n.startswith(f"{layer}.")}


@pytest.mark.parametrize("name", LAST_LAYER)
def test_a_backbone_gives_what_the_last_layer_of_the_classifier_saw(name: str) -> None:
    assert_penultimate(name, LAST_LAYER[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW_LAST_LAYER)
def test_a_large_backbone_gives_what_the_last_layer_of_the_classifier_saw(name: str) -> None:
    assert_penultimate(name, SLOW_LAST_LAYER[name])


def test_a_classifier_without_a_linear_layer_loses_its_convolution_and_its_dropout() -> None:
    network, dim = build_backbone("squeezenet1_1", 96)
    assert dim == 512
    first, second = network(torch.ones(1, 3, 96, 96)), network(torch.ones(1, 3, 96, 96))
    assert torch.equal(first, second)  # no dropout in training


def test_no_dropout_is_left_before_the_features() -> None:
    network, _ = build_backbone("mobilenet_v3_small", 64)
    assert not [layer for layer in network.modules() if isinstance(layer, nn.Dropout)]


@pytest.mark.parametrize("name", ["timm/resnet18", "timm/tf_efficientnet_lite0", "timm/test_vit.r160_in1k"])
def test_a_backbone_of_timm_gives_the_pooled_features_of_timm(name: str) -> None:
    network, dim = build_backbone(name, 160)
    made: Any = network.eval()
    images = torch.rand(2, 3, 160, 160)
    with torch.no_grad():
        pooled = made.forward_head(made.forward_features(images), pre_logits=True)
        assert torch.equal(made(images), pooled)
    assert pooled.shape == (2, dim)


@pytest.mark.parametrize("name", ["resnet18", "timm/resnet18"])
def test_the_stem_follows_the_size_unless_it_is_named(name: str) -> None:
    assert build_backbone(name, 64)[0].conv1.stride == (1, 1)
    assert build_backbone(name, 68)[0].conv1.stride == (2, 2)
    assert build_backbone(name, 64, stem="own")[0].conv1.stride == (2, 2)
    assert build_backbone(name, 96, stem="small")[0].conv1.stride == (1, 1)


def test_a_timm_network_of_fixed_size_is_built_for_the_size_that_is_wanted() -> None:
    network, dim = build_backbone("timm/test_vit", 96)
    assert network(torch.rand(1, 3, 96, 96)).shape == (1, dim)


@pytest.mark.parametrize(("name", "size"), [("alexnet", 32), ("vit_b_32", 48), ("maxvit_t", 64)])
def test_a_size_that_a_network_cannot_take_is_refused(name: str, size: int) -> None:
    with pytest.raises(ConfigError, match=rf"'{name}' cannot take images of {size} pixels: .*Set image_size"):
        build_backbone(name, size)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3", "fcn_resnet50", "resnet19"])
def test_what_is_no_plain_classifier_of_torchvision_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"'{name}' is not known\. Use small_cnn, .*or timm/NAME"):
        build_backbone(name, 64)


@pytest.mark.parametrize("name", ["timm/resnet18.nobody", "timm/resnett18"])
def test_an_unknown_name_of_timm_is_refused_with_names_near_it(name: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot be built by timm .*Names near it: .*resnet18"):
        build_backbone(name, 64)
