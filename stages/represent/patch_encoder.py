"""Fit an encoder of patches: filters from some images' patches, then directions from their augmented views."""

import time
from typing import Any

import torch

from pipeline.errors import ConfigError, DataError
from stages.images.augment import augment
from stages.images.cache import ImageCache
from stages.networks.encoder import Encoder, EncoderDescription
from stages.networks.patches import PatchNetwork, PatchShape
from stages.represent.config import RepresentConfig
from stages.represent.methods.patches import Moments, set_filters, set_projection
from stages.shell import Context

PATCHES = 40_000  # to measure the whitening on, and to draw atoms from
SOURCES = 4000  # images that patches are cut from
BATCH = 256
WIDEST = 16_384  # numbers in a code: seven square matrices of a gigabyte each
USUAL_SIZE = 32  # larger images are looked at in as many places: the stride grows with them


def fit_patches(
    config: RepresentConfig, context: Context, cache: ImageCache, device: torch.device
) -> tuple[Encoder, dict[str, Any]]:
    """Make the encoder; return it with what the making tells. Nothing is checkpointed."""
    started = time.monotonic()
    generator = torch.Generator().manual_seed(config.seed)
    encoder = Encoder(describe(config, cache)).to(device).to(memory_format=torch.channels_last)
    network = encoder.backbone
    assert isinstance(network, PatchNetwork)
    with torch.no_grad():
        images = cache.batch(spread(len(cache), SOURCES))
        set_filters(network, (images - encoder.mean) / encoder.std, PATCHES + network.shape.atoms, generator)
        context.stop.check()
        moments = measure_views(config, context, cache, encoder)
        context.stop.check()
        values = set_projection(network, moments)
    if not bool(torch.isfinite(values).all()):
        raise DataError("the images' patches give no finite directions.", "Look at the images, or take method simclr.")
    seconds = max(time.monotonic() - started, 1e-9)
    kept = {"invariance": [round(float(v), 4) for v in values[[0, len(values) // 2, -1]]]}
    return encoder, {**kept, "fitted_on": moments.images, "images_per_second": round(moments.images / seconds, 1)}


def describe(config: RepresentConfig, cache: ImageCache) -> EncoderDescription:
    """Settle the network's shape by the options, the images' size and their number."""
    options, size = config.patches, config.image_size
    patch = min(options.patch_size, size // 2)
    grid = min(options.grid, size - patch + 1)
    width = (options.atoms + 3) * grid**2
    if width > WIDEST:
        raise ConfigError(
            f"represent.patches: {options.atoms} atoms on a grid of {grid} × {grid} make {width} numbers of an image, "
            f"at most {WIDEST} can be fitted.",
            f"Lower atoms to {WIDEST // grid**2 - 3}, or the grid.",
        )
    number = max(1, min(options.dim, width, min(len(cache), options.images) - 1))
    stride = options.stride * max(1, size // USUAL_SIZE)
    shape = PatchShape(
        atoms=options.atoms, patch_size=patch, stride=stride, grid=grid, dim=number,
        mirror=config.augmentation.flip, mixed=config.precision == "mixed",
    )  # fmt: skip
    mean, std = cache.mean_and_std()
    return EncoderDescription(
        backbone="patches", patches=shape, image_size=size, mean=mean, std=std, method=config.method
    )


def measure_views(config: RepresentConfig, context: Context, cache: ImageCache, encoder: Encoder) -> Moments:
    """Code augmented views of some images, spread evenly over the dataset, and sum up what they tell."""
    network, options = encoder.backbone, config.patches
    assert isinstance(network, PatchNetwork)
    device = encoder.mean.device
    generator = torch.Generator(device).manual_seed(config.seed)
    moments = Moments(network.projection.in_features, device)
    rows = spread(len(cache), options.images)
    for some in torch.split(rows, BATCH):
        context.stop.check()
        images = cache.batch(some)
        codes = []
        for _ in range(options.views):
            views = (augment(images, config.augmentation, generator) - encoder.mean) / encoder.std
            codes.append(network.codes(views))
        moments.add(torch.stack(codes, dim=1))
        context.progress.report("fit", moments.images, len(rows), "images")
    return moments


def spread(count: int, most: int) -> torch.Tensor:
    """Take some rows of a dataset, spread evenly over it."""
    number = min(count, most)
    return torch.arange(number) * count // number
