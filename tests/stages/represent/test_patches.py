"""patches as a stage: what it learns, what it refuses, when it stops."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.artifacts import Artifact, Ref
from pipeline.errors import ConfigError, InterruptedRunError
from stages.images.augment import augment
from stages.images.augmentation import Augmentation
from stages.networks.encoder import Encoder, load_encoder
from stages.represent.config import RepresentConfig
from stages.represent.options import PatchesOptions
from stages.represent.produce import produce
from stages.shell.stop import StopFlag

TARGET, OTHER = Ref(kind="encoders", key="e" * 32), Ref(kind="encoders", key="f" * 32)
HOW = Augmentation(crop_scale=0.8, flip=False, shift=0.1, colour=0.5, grey=0.2)
CONFIG = RepresentConfig(
    method="patches", image_size=8, augmentation=HOW, patches=PatchesOptions(atoms=32, patch_size=3, dim=16)
)
MakeImages = Callable[[Sequence[np.ndarray | None]], Artifact]
RunStage = Callable[..., Artifact]


def seeded(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def pictures(count: int, size: int = 8, seed: int = 0) -> list[np.ndarray]:
    """Draw coloured stripes, across in even rows and down in odd ones, with some noise."""
    random, drawn = np.random.default_rng(seed), []
    for number in range(count):
        picture = np.zeros((size, size, 3))
        picture[random.integers(2) :: 2] = random.uniform(0.4, 1.0, 3)
        picture = picture if number % 2 == 0 else picture.transpose(1, 0, 2)
        drawn.append((255 * np.clip(picture + random.normal(0, 0.05, picture.shape), 0, 1)).astype(np.uint8))
    return drawn


def as_batch(images: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 255


def open_encoder(artifact: Artifact) -> Encoder:
    return load_encoder(artifact.path("encoder.json"), artifact.path("encoder.safetensors"))


def represent(run_stage: RunStage, images: Artifact, config: RepresentConfig = CONFIG, **more: Any) -> Artifact:
    return run_stage(config, produce, {"images": images.ref}, more.pop("target", TARGET), **more)


def test_like_images_lie_near_each_other(make_images: MakeImages, run_stage: RunStage) -> None:
    encoder = open_encoder(represent(run_stage, make_images(pictures(64))))
    with torch.inference_mode():
        features = encoder(as_batch(pictures(60, seed=9)))
    unit = torch.nn.functional.normalize(features - features.mean(dim=0))
    similarity = (unit @ unit.T).fill_diagonal_(-2)
    kind = torch.arange(60) % 2
    assert float((kind[similarity.argmax(dim=1)] == kind).float().mean()) > 0.95


def test_views_of_one_image_find_each_other_among_all(make_images: MakeImages, run_stage: RunStage) -> None:
    drawn = [(np.random.default_rng(n).random((4, 4, 3)) * 255).astype(np.uint8).repeat(4, 0).repeat(4, 1)
             for n in range(50)]  # fmt: skip
    config = CONFIG.model_copy(update={"image_size": 16, "patches": PatchesOptions(atoms=64, patch_size=5, dim=32)})
    encoder = open_encoder(represent(run_stage, make_images(drawn), config))
    with torch.inference_mode():
        views = [encoder(augment(as_batch(drawn), HOW, seeded(n))) for n in (1, 2)]
    units = [torch.nn.functional.normalize(view - view.mean(dim=0)) for view in views]
    found = (units[0] @ units[1].T).argmax(dim=1)
    assert float((found == torch.arange(50)).float().mean()) > 0.6


def test_an_image_looks_like_its_mirror_image_only_where_the_augmentation_may_mirror(
    make_images: MakeImages, run_stage: RunStage
) -> None:
    images, seen = make_images(pictures(64)), as_batch(pictures(10, seed=9))
    flips = CONFIG.model_copy(update={"augmentation": HOW.model_copy(update={"flip": True})})
    apart = []
    for config, target in ((CONFIG, TARGET), (flips, OTHER)):
        encoder = open_encoder(represent(run_stage, images, config, target=target))
        with torch.inference_mode():
            apart.append(float((encoder(seen) - encoder(seen.flip(3))).norm() / encoder(seen).norm()))
    assert apart[1] < 1e-2 < 0.1 < apart[0]


def test_the_same_seed_makes_the_same_bytes_and_another_seed_others(
    make_images: MakeImages, run_stage: RunStage
) -> None:
    images = make_images(pictures(30))
    first = represent(run_stage, images)
    assert first.metrics["fitted_on"] == 30
    again = represent(run_stage, images, target=OTHER)
    other = represent(
        run_stage, images, CONFIG.model_copy(update={"seed": 1}), target=Ref(kind="encoders", key="d" * 32)
    )
    assert first.manifest.files == again.manifest.files
    assert first.manifest.files != other.manifest.files


@pytest.mark.parametrize(("count", "size"), [(2, 8), (10, 12), (3, 40)])
def test_few_images_of_any_size_make_as_many_features_as_they_allow(
    make_images: MakeImages, run_stage: RunStage, count: int, size: int
) -> None:
    config = CONFIG.model_copy(update={"image_size": size})
    artifact = represent(run_stage, make_images(pictures(count, size)), config)
    assert artifact.metrics["dim"] == count - 1
    assert torch.isfinite(open_encoder(artifact)(as_batch(pictures(count, size)))).all()


@pytest.mark.parametrize("colour", [0, 128])
def test_images_without_contrast_make_finite_features(
    make_images: MakeImages, run_stage: RunStage, colour: int
) -> None:
    flat = [np.full((8, 8), colour, np.uint8)] * 12
    artifact = represent(run_stage, make_images(flat))
    assert torch.isfinite(open_encoder(artifact)(torch.rand(3, 3, 8, 8))).all()
    assert artifact.metrics["effective_rank"] == pytest.approx(0, abs=1)


def test_more_than_memory_can_hold_is_refused_at_once(make_images: MakeImages, run_stage: RunStage) -> None:
    config = CONFIG.model_copy(update={"patches": PatchesOptions(atoms=8192, patch_size=3, grid=4)})
    with pytest.raises(ConfigError, match=r"8192 atoms on a grid of 4 × 4 make 131120 numbers.*at most 16384"):
        represent(run_stage, make_images(pictures(4)), config)


def test_a_wish_to_stop_is_heard(make_images: MakeImages, run_stage: RunStage) -> None:
    stop = StopFlag()
    stop.request(15)
    with pytest.raises(InterruptedRunError, match="before a checkpoint"):
        represent(run_stage, make_images(pictures(10)), stop=stop)
