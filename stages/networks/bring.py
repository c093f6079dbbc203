"""Weights from a file, fitted to their backbone: what is left over, what is missing, and how they see images."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import ConfigError
from stages.networks.backbones import Stem, build_backbone
from stages.networks.brought import LEARNED_SIZE, WeightsOptions
from stages.networks.encoder import Encoder, EncoderDescription
from stages.networks.foreign import (
    Fitted,
    Tensors,
    agrees_in_order,
    faults_of,
    fit_in_order,
    fit_tensors,
    read_tensors,
)
from stages.networks.preprocessing import HALF, IMAGENET, NONE, Channels, Preprocessing, own_preprocessing

NAMED = 5  # left-out tensors to name


@dataclass(frozen=True)
class Wanted:
    """The network that weights are for, how they are to be read, and the section of the document that says so."""

    backbone: str
    width: int
    image_size: int  # 0: what the backbone was made for
    options: WeightsOptions
    section: str = "represent"


@dataclass(frozen=True)
class Brought:
    """An encoder with weights from elsewhere, and what was done to fit them."""

    encoder: Encoder
    told: Mapping[str, Any]


def bring(wanted: Wanted, path: Path) -> Brought:
    """Read weights from a file and make them an encoder."""
    tensors = read_tensors(path)
    if wanted.options.match == "order" and path.suffix == ".safetensors":
        raise ConfigError(
            f"weights {path.name}: a safetensors file keeps no order.", "Bring the .pth, or match: names."
        )
    description = describe(wanted, "own")
    fitted = fit(wanted, tensors, description, path.name)
    if is_small_stem(fitted):
        description = describe(wanted, "small")
        fitted = fit(wanted, tensors, description, path.name)
    encoder = Encoder(description)
    encoder.backbone.load_state_dict(fitted.tensors)
    refuse_infinite(encoder, path.name)
    left = {"left_out": fitted.dropped[:NAMED], "left_out_count": len(fitted.dropped)}
    told = {"tensors": len(fitted.tensors), "prefix": fitted.prefix, **left}
    return Brought(encoder.eval(), told)


def describe(wanted: Wanted, stem: Stem) -> EncoderDescription:
    """Settle backbone and preprocessing: what the user says, else what is known of the backbone."""
    options, own = wanted.options, own_preprocessing(wanted.backbone)
    if own is None:
        own = Preprocessing(LEARNED_SIZE, 1.0, "bilinear", *NONE)
    mean, std = normalisation(options, own)
    return EncoderDescription(
        backbone=wanted.backbone, width=wanted.width, stem=stem, image_size=wanted.image_size or own.image_size,
        crop=options.crop or own.crop, mean=mean, std=std, method="weights",
        interpolation=own.interpolation if options.interpolation == "own" else options.interpolation,
    )  # fmt: skip


def normalisation(options: WeightsOptions, own: Preprocessing) -> tuple[Channels, Channels]:
    """Choose mean and spread of the channels."""
    match options.normalise:
        case "custom":
            return options.mean, options.std
        case "own":
            return own.mean, own.std
        case "imagenet" | "half" | "none":
            return {"imagenet": IMAGENET, "half": HALF, "none": NONE}[options.normalise]


def fit(wanted: Wanted, tensors: Tensors, description: EncoderDescription, name: str) -> Fitted:
    """Fit the tensors of a file to the backbone, or say what does not fit."""
    options = wanted.options
    network, _ = build_backbone(wanted.backbone, description.image_size, wanted.width, description.stem)
    by_order = options.match == "order"
    if by_order and not agrees_in_order(tensors, network):
        raise misfit(wanted, name, ["their shapes are not the backbone's, in its order"])
    fitted = fit_in_order(tensors, network) if by_order else fit_tensors(tensors, network, options.prefix)
    if description.stem == "own" and is_small_stem(fitted):
        return fitted  # to be fitted again to the network with that stem
    faults = faults_of(fitted, network)
    if faults:
        raise misfit(wanted, name, faults, agrees_in_order(tensors, network))
    return fitted


def misfit(wanted: Wanted, name: str, faults: list[str], in_order: bool = False) -> ConfigError:
    """Say what does not fit, and what probably would."""
    hint = (
        "All shapes agree in their order: if it is the same network under other names, set "
        f"{wanted.section}.weights.match: order."
        if in_order
        else f"Name backbone and image_size that they were trained with ({wanted.section}.backbone, image_size)."
    )
    said = "; ".join(faults)
    return ConfigError(f"weights {name} do not fit backbone '{wanted.backbone}': {said}.", hint)


def is_small_stem(fitted: Fitted) -> bool:
    """Tell whether a ResNet was trained with the stem for small images, a 3×3 convolution."""
    first = fitted.tensors.get("conv1.weight")
    return first is not None and first.ndim == 4 and first.shape[-1] == 3


def refuse_infinite(encoder: Encoder, name: str) -> None:
    """Refuse weights that are no numbers."""
    broken = [n for n, value in encoder.state_dict().items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise ConfigError(
            f"weights {name} hold NaN or infinity in {len(broken)} tensors (first: '{broken[0]}').",
            "Bring an earlier checkpoint of that training.",
        )
