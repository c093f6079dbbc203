"""Backbones by name, untrained: the small CNN of this package, torchvision's classifiers, and `timm/NAME`."""

from difflib import get_close_matches
from typing import Any, Literal

import torch
from torch import nn

from pipeline.errors import ConfigError
from stages.networks.patches import PatchNetwork, PatchShape
from stages.networks.small_cnn import SmallCnn

SMALL_IMAGE = 64
TIMM = "timm/"
CLASSES = 1000  # of the classifiers before their last layer is taken off
NOT_PLAIN = ("googlenet", "inception_v3")  # they want colours of their own, and have more than one head

Stem = Literal["", "small", "own"]


def build_backbone(
    name: str, image_size: int, width: int = 64, stem: Stem = "", patches: PatchShape | None = None
) -> tuple[nn.Module, int]:
    """Build an untrained backbone [n, 3, size, size] → [n, dim]; return it and its dim.

    stem: how a ResNet begins: `own` (7×7, quarters the size), `small` (3×3, keeps it, as the papers do on CIFAR);
    empty: small for images of up to 64 pixels.
    """
    if patches is not None:
        return PatchNetwork(patches), patches.dim
    if name == "small_cnn":
        network = SmallCnn(width)
        return network, network.dim
    whole = build_timm(name, image_size) if name.startswith(TIMM) else build_torchvision(name, image_size)
    if has_large_stem(whole) and (stem == "small" or (stem == "" and image_size <= SMALL_IMAGE)):
        whole.conv1 = nn.Conv2d(3, whole.conv1.out_channels, 3, 1, 1, bias=False)
        whole.maxpool = nn.Identity()
    return whole, measure_dim(whole, name, image_size)


def build_torchvision(name: str, image_size: int) -> Any:
    """Build one of torchvision's classifiers without its last layer."""
    import torchvision  # here, as it takes a second that the small CNN does not need

    known = set(torchvision.models.list_models(torchvision.models)) - set(NOT_PLAIN)
    if name not in known:
        raise ConfigError(
            f"backbone '{name}' is not known.", f"Use small_cnn, {', '.join(sorted(known))}, or timm/NAME."
        )
    sized: dict[str, Any] = {"image_size": image_size} if name.startswith("vit_") else {}
    if name.startswith("maxvit"):
        sized = {"input_size": (image_size, image_size)}
    try:
        network = torchvision.models.get_model(name, weights=None, **sized)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise unfit_size(name, image_size, error) from error
    remove_head(network)
    return network


def build_timm(name: str, image_size: int) -> Any:
    """Build one of timm's networks without its classifier; nothing is ever fetched."""
    import timm

    plain = name.removeprefix(TIMM)
    try:
        made_for = timm.get_pretrained_cfg(plain, allow_unregistered=False)
        fixed = made_for.fixed_input_size and made_for.input_size[-1] != image_size
        sized = {"img_size": image_size} if fixed else {}
        return timm.create_model(plain, pretrained=False, num_classes=0, **sized)
    except (AssertionError, TypeError, ValueError) as error:
        raise unfit_size(name, image_size, error) from error
    except RuntimeError as error:
        near = get_close_matches(plain.split(".")[0], timm.list_models(), n=8)
        raise ConfigError(
            f"backbone '{name}' cannot be built by timm {timm.__version__}: {first_line(error)}.",
            f"Names near it: {', '.join(near)}." if near else "`timm.list_models()` names what there is.",
        ) from error


def has_large_stem(network: Any) -> bool:
    """Tell whether a network begins as a ResNet does: a convolution that halves the size, and a pooling layer."""
    conv = getattr(network, "conv1", None)
    pool = getattr(network, "maxpool", None)
    return isinstance(conv, nn.Conv2d) and conv.stride == (2, 2) and isinstance(pool, nn.MaxPool2d)


def remove_head(network: nn.Module) -> None:
    """Take off the layer that scores classes, and the dropout before it."""
    layers = [
        name
        for name, layer in network.named_modules()
        if CLASSES in (getattr(layer, "out_features", None), getattr(layer, "out_channels", None))
    ]
    above, _, last = layers[-1].rpartition(".")
    parent = network.get_submodule(above)
    setattr(parent, last, nn.Identity())
    if isinstance(parent, nn.Sequential):
        for at in range(len(parent) - 1):
            if isinstance(parent[at], nn.Dropout) and isinstance(parent[at + 1], nn.Identity):
                parent[at] = nn.Identity()


def measure_dim(network: nn.Module, name: str, image_size: int) -> int:
    """Count the numbers that a network makes of an image, by trying."""
    network.eval()
    try:
        with torch.no_grad():
            shape = network(torch.zeros(1, 3, image_size, image_size)).shape
    except (RuntimeError, AssertionError, ValueError) as error:
        raise unfit_size(name, image_size, error) from error
    finally:
        network.train()
    if len(shape) != 2:
        raise ConfigError(
            f"backbone '{name}' makes {tuple(shape)} of an image, not one row of numbers.", "Use another."
        )
    return int(shape[1])


def unfit_size(name: str, image_size: int, error: Exception) -> ConfigError:
    """Say that a network cannot take images of a size."""
    return ConfigError(
        f"backbone '{name}' cannot take images of {image_size} pixels: {first_line(error)}.",
        "Set image_size to a size that it was made for, most often 224, or use another backbone.",
    )


def first_line(error: Exception) -> str:
    """Shorten an error to its first line."""
    return (str(error).splitlines() or [type(error).__name__])[0].strip().rstrip(".")
