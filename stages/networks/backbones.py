"""Backbones by name: the small CNN of this package, and torchvision's ResNets with a stem for small images."""

from typing import Any

from torch import nn

from pipeline.errors import ConfigError
from stages.networks.small_cnn import SmallCnn

SMALL_IMAGE = 64


def build_backbone(name: str, image_size: int, width: int = 64) -> tuple[nn.Module, int]:
    """Build an untrained backbone [n, 3, size, size] → [n, dim]; return it and its dim."""
    if name == "small_cnn":
        network = SmallCnn(width)
        return network, network.dim
    return build_resnet(name, image_size)


def build_resnet(name: str, image_size: int) -> tuple[nn.Module, int]:
    """Build one of torchvision's ResNets; up to 64 pixels its stem keeps the size, as the papers do on CIFAR."""
    import torchvision  # here, as it takes a second that the small CNN does not need

    known = [m for m in torchvision.models.list_models(torchvision.models) if "resnet" in m or "resnext" in m]
    if name not in known:
        raise ConfigError(f"backbone '{name}' is not known.", f"Use small_cnn, {', '.join(sorted(known))}.")
    network: Any = torchvision.models.get_model(name, weights=None)
    dim = int(network.fc.in_features)
    network.fc = nn.Identity()
    if image_size <= SMALL_IMAGE:
        network.conv1 = nn.Conv2d(3, network.conv1.out_channels, 3, 1, 1, bias=False)
        network.maxpool = nn.Identity()
    return network, dim
