"""How the published weights of a backbone want to see images, as timm and torchvision have it written down."""

from typing import Any, Literal, NamedTuple

from pipeline.errors import ConfigError
from stages.networks.backbones import TIMM

Channels = tuple[float, ...]
Interpolation = Literal["bilinear", "bicubic"]

IMAGENET: tuple[Channels, Channels] = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF: tuple[Channels, Channels] = (0.5,) * 3, (0.5,) * 3
NONE: tuple[Channels, Channels] = (0.0,) * 3, (1.0,) * 3
BYTES: tuple[Channels, Channels] = (0.0,) * 3, (1 / 255,) * 3
CENTRED_BYTES: tuple[Channels, Channels] = IMAGENET[0], (1 / 255,) * 3


class Preprocessing(NamedTuple):
    """The centre square, `crop` of the shorter side wide, scaled to `image_size`, then (x − mean) / std."""

    image_size: int
    crop: float
    interpolation: Interpolation
    mean: Channels
    std: Channels


def own_preprocessing(backbone: str) -> Preprocessing | None:
    """Look up what a backbone's published weights were evaluated with; None for the small CNN, which has none."""
    if backbone == "small_cnn":
        return None
    return of_timm(backbone.removeprefix(TIMM)) if backbone.startswith(TIMM) else of_torchvision(backbone)


def of_timm(name: str) -> Preprocessing:
    """Read timm's own record; a tag in the name (resnet50.a1_in1k) chooses between weights."""
    import timm

    made: Any = timm.get_pretrained_cfg(name, allow_unregistered=False)
    return Preprocessing(
        made.input_size[-1], min(float(made.crop_pct), 1.0), scaling(made.interpolation), tuple(made.mean),
        tuple(made.std),
    )  # fmt: skip


def of_torchvision(name: str) -> Preprocessing:
    """Read the transforms of torchvision's newest weights."""
    import torchvision

    try:
        made: Any = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    except ValueError as error:
        raise ConfigError(
            f"backbone '{name}' is not known.", "Use one of torchvision's classifiers, or timm/NAME."
        ) from error
    size = made.crop_size[0]
    crop = min(size / made.resize_size[0], 1.0)
    return Preprocessing(size, crop, scaling(made.interpolation.value), tuple(made.mean), tuple(made.std))


def scaling(name: str) -> Interpolation:
    """Name the nearest interpolation that we have: bicubic for Lanczos and the like."""
    return "bilinear" if name == "bilinear" else "bicubic"
