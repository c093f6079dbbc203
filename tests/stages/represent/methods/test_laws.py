"""What holds for every self-supervised method."""

import math
import signal
from collections.abc import Callable, Sequence
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.artifacts import Artifact, Ref
from pipeline.errors import InterruptedRunError
from stages.images.augment import augment
from stages.images.augmentation import Augmentation
from stages.networks.encoder import Encoder, EncoderDescription, load_encoder
from stages.represent import produce as module
from stages.represent.config import VERSIONS, Method, RepresentConfig
from stages.represent.learner import Learner, build_learner
from stages.represent.produce import produce
from stages.shell.stop import StopFlag

SMALL: dict[str, dict[str, Any]] = {
    "simclr": {"hidden_dim": 32, "projection_dim": 16},
    "moco": {"hidden_dim": 32, "projection_dim": 16, "queue": 48, "momentum": 0.9, "splits": 2},
    "simsiam": {"hidden_dim": 32, "projection_dim": 32, "predictor_dim": 8},
    "byol": {"hidden_dim": 32, "projection_dim": 16, "momentum": 0.9},
    "barlow_twins": {"hidden_dim": 32, "projection_dim": 32},
    "vicreg": {"hidden_dim": 32, "projection_dim": 32},
    "dino": {"hidden_dim": 32, "bottleneck_dim": 16, "groups": 64, "momentum": 0.9},
}
AT_ONCE = ["patches", "weights"]  # fitted in one go, or taken from a file: tests of their own
METHODS = [*SMALL.items(), ("dino", SMALL["dino"] | {"local_views": 1, "local_scale": 0.8})]
NAMES = [*SMALL, "dino with local views"]
HOW = Augmentation(crop_scale=1.0, flip=False, shift=0.1, colour=1.0, grey=0.5)
DESCRIPTION = EncoderDescription(backbone="small_cnn", width=8, image_size=8, mean=(0.4,) * 3, std=(0.3,) * 3)
TARGET, OTHER = Ref(kind="encoders", key="e" * 32), Ref(kind="encoders", key="f" * 32)
MakeImages = Callable[[Sequence[np.ndarray | None]], Artifact]
RunStage = Callable[..., Artifact]

every_method = pytest.mark.parametrize(("method", "options"), METHODS, ids=NAMES)


def config_of(method: str, options: dict[str, Any], epochs: int = 3) -> RepresentConfig:
    return RepresentConfig.model_validate({
        "method": method, method: options, "width": 8, "image_size": 8, "epochs": epochs, "batch_size": 32,
        "optimizer": "adamw", "learning_rate": 0.024, "weight_decay": 1e-4, "precision": "full", "augmentation": HOW,
    })  # fmt: skip


def patterns(count: int, seed: int = 0) -> Tensor:
    """Draw pictures [n, 3, 8, 8], each of a pattern of its own, in a colour that means nothing."""
    generator = torch.Generator().manual_seed(seed)
    shape = (torch.rand(count, 1, 4, 4, generator=generator) < 0.5).float()
    colour = 0.4 + 0.6 * torch.rand(count, 3, 1, 1, generator=generator)
    return (shape * colour).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def as_arrays(pictures: Tensor) -> list[np.ndarray]:
    return list((pictures * 255).byte().permute(0, 2, 3, 1).numpy())


def found_again(encoder: nn.Module, pictures: Tensor) -> float:
    """Share of pictures whose view is nearest to another view of the same picture."""
    generator, views = torch.Generator().manual_seed(1), []
    encoder.eval()
    with torch.inference_mode():
        for _ in range(2):
            features = encoder(augment(pictures, HOW, generator))
            views.append(nn.functional.normalize(features - features.mean(dim=0)))
    nearest = (views[0] @ views[1].T).argmax(dim=1)
    return float((nearest == torch.arange(len(pictures))).float().mean())


def build(method: str, options: dict[str, Any]) -> Learner:
    torch.manual_seed(0)
    return build_learner(Encoder(DESCRIPTION), config_of(method, options))


def test_all_methods_are_here() -> None:
    assert [*SMALL, *AT_ONCE] == list(VERSIONS) == list(get_args(Method))


@every_method
def test_views_of_one_image_come_near_each_other_and_the_loss_falls(
    make_images: MakeImages, run_stage: RunStage, method: str, options: dict[str, Any]
) -> None:
    pictures = patterns(64)
    config = config_of(method, options, epochs=200 if method == "dino" else 100)  # it sorts before it tells apart
    artifact = run_stage(config, produce, {"images": make_images(as_arrays(pictures)).ref}, TARGET)
    curve = artifact.metrics["curve"]
    assert all(math.isfinite(loss) for loss in curve)
    assert np.mean(curve[-5:]) < max(curve[:5]) - 0.1  # not the first: moco begins with easy, random negatives
    untrained = found_again(build(method, options).encoder, pictures)
    trained = load_encoder(artifact.path("encoder.json"), artifact.path("encoder.safetensors"))
    assert found_again(trained, pictures) > untrained + 0.1
    assert artifact.metrics["effective_rank"] > 5  # of 32: not collapsed


@every_method
def test_a_stopped_run_ends_like_an_unbroken_one_and_a_seed_always_makes_the_same(
    make_images: MakeImages, run_stage: RunStage, monkeypatch: pytest.MonkeyPatch, method: str, options: dict[str, Any]
) -> None:
    config, stop, steps = config_of(method, options), StopFlag(), []
    inputs = {"images": make_images(as_arrays(patterns(64))).ref}

    def augment_and_stop(batch: Tensor, how: Augmentation, generator: torch.Generator) -> Tensor:
        steps.append(1)
        if len(steps) == 3:
            stop.request(signal.SIGTERM)
        return augment(batch, how, generator)

    with monkeypatch.context() as patched:
        patched.setattr(module, "augment", augment_and_stop)
        with pytest.raises(InterruptedRunError, match="a checkpoint is written"):
            run_stage(config, produce, inputs, TARGET, stop=stop)
    resumed = run_stage(config, produce, inputs, TARGET)
    whole = run_stage(config, produce, inputs, OTHER)
    assert resumed.manifest.files == whole.manifest.files
    assert resumed.metrics["curve"] == whole.metrics["curve"]


@every_method
def test_a_step_trains_all_that_is_to_be_trained_and_leaves_its_inputs_alone(
    method: str, options: dict[str, Any]
) -> None:
    learner, images = build(method, options), patterns(6)
    generator = torch.Generator().manual_seed(0)
    views = (torch.cat([images, images.flip(3)]), *learner.further_views(images, HOW, generator))
    before = [view.clone() for view in views]
    learner(*views, done=0.5).backward()
    assert all(torch.equal(view, copy) for view, copy in zip(views, before, strict=True))
    trained = {name: p.grad for name, p in learner.named_parameters() if p.requires_grad}
    assert all(grad is not None and torch.isfinite(grad).all() for grad in trained.values()), trained
    assert {name.split(".")[0] for name in trained} >= {"encoder", "head"}
    assert not any(name.startswith("teacher") for name in trained)


@every_method
def test_two_images_are_enough_for_a_step(method: str, options: dict[str, Any]) -> None:
    assert torch.isfinite(build(method, options)(patterns(4), done=0.0))


@every_method
def test_all_that_changes_in_training_is_saved(method: str, options: dict[str, Any]) -> None:
    learner, other = build(method, options), build(method, options)
    views = patterns(8)
    for _ in range(3):
        learner(views, done=0.5)
    other.load_state_dict(learner.state_dict())
    assert torch.equal(learner(views, done=0.5), other(views, done=0.5))


@every_method
def test_the_loss_compares_the_whole_batch_however_many_parts_the_encoder_sees(
    method: str, options: dict[str, Any]
) -> None:
    learners, gradients = [build(method, options) for _ in range(2)], []
    learners[1].parts = 3
    for learner in learners:
        learner.encoder.eval()  # batch norm by what was counted: it alone would tell parts from the whole
        learner(patterns(12), done=0.5).backward()
        gradients.append([p.grad for p in learner.encoder.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert float((one - other).norm()) <= 1e-3 * float(one.norm()) + 1e-6
