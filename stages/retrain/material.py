"""What a classifier is trained on, image or features alike: batches, the network before training, its description."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pipeline.datasets.images import open_images
from pipeline.errors import ConfigError, DataError
from pipeline.features import Features, open_features
from pipeline.weights import checked_weights
from stages.images.augment import augment
from stages.images.augmentation import Augmentation
from stages.images.cache import ImageCache
from stages.images.decoding import Fit
from stages.images.load import load_pixels
from stages.networks.bring import Wanted, bring
from stages.networks.classifiers import Standardise, build_head, join
from stages.networks.encoder import DESCRIPTION_FILE, WEIGHTS_FILE, Encoder, load_encoder
from stages.networks.heads import build_classifier
from stages.retrain.config import RetrainConfig
from stages.shell import Context
from stages.training.schedule import mixed_seed

CHUNK = 1024
FIRST_WEIGHTS = 2  # purpose of a seed, beside those of the schedule

Rows = npt.NDArray[np.int64]


class Batches(Protocol):
    """Where inputs come from; rows are numbered among the usable ones."""

    def plain(self, rows: Tensor, then: Iterator[Tensor] | None = None) -> Tensor:
        """Take inputs as they are; `then`: the rows of the batches that will follow."""

    def varied(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """Change inputs at random where that keeps what they show."""


@dataclass(frozen=True)
class Material:
    """The usable rows of a dataset, their batches, untrained networks for them, and how to say what these are."""

    sample_ids: Any  # pa.ChunkedArray of all rows
    usable: Rows
    batches: Batches
    build: Callable[[int], nn.Module]  # network 0, 1, …: each with first weights of its own
    whole: Callable[[nn.Module], nn.Module]  # from the trained network to the one that is shipped
    raw: Batches  # what the shipped network takes
    description: dict[str, Any]


class ImageBatches:
    """Decoded images, shifted and mirrored for training."""

    def __init__(self, cache: ImageCache, shift: float, flip: bool) -> None:
        self._cache = cache
        self._how = Augmentation(crop_scale=1, crop_ratio=1, flip=flip, shift=shift, colour=0, grey=0)

    def plain(self, rows: Tensor, then: Iterator[Tensor] | None = None) -> Tensor:
        """Take images as they are."""
        return self._cache.batch(rows, then)

    def varied(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """Change each image in its own way."""
        return augment(inputs, self._how, generator)


class FeatureBatches:
    """Rows of numbers, always as they are."""

    def __init__(self, take: Callable[[Rows], Any], device: torch.device) -> None:
        self._take = take
        self._device = device

    def plain(self, rows: Tensor, then: Iterator[Tensor] | None = None) -> Tensor:
        """Take rows."""
        return torch.as_tensor(np.asarray(self._take(rows.numpy()), dtype=np.float32)).to(self._device)

    def varied(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """Leave them as they are."""
        return inputs


def open_material(config: RetrainConfig, context: Context, classes: int, device: torch.device) -> Material:
    """Open images with their encoder, or features."""
    if "images" in context.request.inputs:
        return image_material(config, context, classes, device)
    return feature_material(config, open_features(context.input("features")), classes, device)


def some(usable: Rows, count: int) -> Rows:
    """Refuse a dataset without readable rows."""
    if not len(usable):
        raise DataError(f"none of {count} rows is readable, so there is nothing to train on.", "Look at the report.")
    return usable


def feature_material(config: RetrainConfig, features: Features, classes: int, device: torch.device) -> Material:
    """Train a small network on features."""
    if config.start_from == "weights" or config.head_first or config.layer_decay < 1:
        raise ConfigError(
            "retrain.start_from weights, head_first and layer_decay are for image networks, but this dataset has "
            "features.",
            "Leave them out.",
        )
    usable = some(np.flatnonzero(features.ok), len(features))
    batches = FeatureBatches(lambda rows: features.take(usable[rows]), device)
    scale = standardise(batches, len(usable), features.dim)
    description = {"input": "features", "network": {"inputs": features.dim, "hidden": config.hidden}}

    def build(number: int) -> nn.Module:
        seed_weights(config, number)
        return build_head(copy.deepcopy(scale), config.hidden, classes)

    return Material(features.rows["sample_id"], usable, batches, build, lambda trained: trained, batches, description)


def image_material(config: RetrainConfig, context: Context, classes: int, device: torch.device) -> Material:
    """Train the encoder with a head on it, or the head alone."""
    images = open_images(context.input("images"))
    encoder = chosen_encoder(config, context)
    encoder = (starting_encoder(encoder, config) if config.freeze else encoder).to(device)
    usable = some(np.flatnonzero(images.ok), len(images))
    fit = Fit(*encoder.description.fit)
    cache = ImageCache(load_pixels(images, usable, fit, context), device)
    pictures = ImageBatches(cache, config.shift, config.flip)
    ids = images.rows["sample_id"]
    description = {
        "input": "images",
        "network": {"encoder": encoder.description.model_dump(mode="json"), "scaled_head": config.freeze},
        "preprocessing": preprocessing(fit),
    }
    if not config.freeze:

        def build(number: int) -> nn.Module:
            return build_classifier(starting_encoder(encoder, config, number), classes)

        return Material(ids, usable, pictures, build, lambda trained: trained, pictures, description)
    features = encode_all(encoder, pictures, len(usable), context)
    batches = FeatureBatches(lambda rows: features[rows], device)
    scale = standardise(batches, len(usable), encoder.dim)

    def head(number: int) -> nn.Module:
        seed_weights(config, number)
        return build_head(copy.deepcopy(scale), 0, classes)

    return Material(ids, usable, batches, head, lambda trained: join(encoder, trained), pictures, description)


def chosen_encoder(config: RetrainConfig, context: Context) -> Encoder:
    """Take the encoder, the network of a file, or an architecture that sees images as the encoder does."""
    artifact = context.input("encoder")
    encoder = load_encoder(artifact.path(DESCRIPTION_FILE), artifact.path(WEIGHTS_FILE))
    seen = encoder.description
    if config.start_from == "weights":
        path, _ = checked_weights(config.weights.path, config.weights.sha256, "retrain")
        return bring(Wanted(config.backbone, seen.width, config.image_size, config.weights, "retrain"), path).encoder
    if config.backbone:
        seen = seen.model_copy(update={"backbone": config.backbone, "stem": "", "patches": None})
    if config.image_size:
        seen = seen.model_copy(update={"image_size": config.image_size})
    return encoder if seen == encoder.description else Encoder(seen)


def preprocessing(fit: Fit) -> dict[str, Any]:
    """Say how an image is brought to what the network takes."""
    square = "centre square" if fit.crop == 1 else f"centre square of {fit.crop:g} of the shorter side"
    return {"colours": "RGB", "range": [0, 1], "fit": f"{square}, {fit.interpolation}", "image_size": fit.size}


def seed_weights(config: RetrainConfig, number: int) -> None:
    """Seed the one place where torch's layers draw their first weights, for each network in its own way."""
    torch.manual_seed(mixed_seed(config.seed, FIRST_WEIGHTS, number))


def starting_encoder(trained: Encoder, config: RetrainConfig, number: int = 0) -> Encoder:
    """Copy the trained encoder, or make a new one of the same architecture."""
    seed_weights(config, number)
    return Encoder(trained.description) if config.start_from == "scratch" else copy.deepcopy(trained)


def encode_all(encoder: Encoder, pictures: ImageBatches, count: int, context: Context) -> npt.NDArray[np.float32]:
    """Encode all images once, [count, dim]."""
    encoded = np.empty((count, encoder.dim), np.float32)
    encoder.eval()
    with torch.inference_mode():
        for rows in torch.split(torch.arange(count), CHUNK):
            context.stop.check()
            encoded[rows.numpy()] = encoder(pictures.plain(rows)).cpu().numpy()
            context.progress.report("encode", int(rows[-1]) + 1, count, "images")
    return encoded


def standardise(batches: Batches, count: int, inputs: int) -> Standardise:
    """Measure mean and spread of all inputs [count, inputs]."""
    total, squares = torch.zeros(inputs).double(), torch.zeros(inputs).double()
    for rows in torch.split(torch.arange(count), CHUNK):
        values = batches.plain(rows).double().cpu()
        total, squares = total + values.sum(dim=0), squares + values.square().sum(dim=0)
    mean = total / count
    spread = (squares / count - mean.square()).clamp(min=0).sqrt()
    varies = spread > 1e-6 * (1 + mean.abs())
    return Standardise(mean, torch.where(varies, spread, torch.ones_like(spread)))
