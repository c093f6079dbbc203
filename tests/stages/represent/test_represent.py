"""represent: what it learns, when it goes on, and what it refuses."""

import json
import signal
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from pipeline.artifacts import Artifact, Ref
from pipeline.errors import ConfigError, DataError, InterruptedRunError, ResourceError
from stages.images.augment import augment
from stages.images.augmentation import Augmentation
from stages.networks.encoder import load_encoder
from stages.represent import produce as module
from stages.represent.config import RepresentConfig
from stages.represent.core import alignment, effective_rank, uniformity
from stages.represent.options import SimclrOptions
from stages.represent.produce import produce
from stages.shell.stop import StopFlag

TARGET = Ref(kind="encoders", key="e" * 32)
CONFIG = RepresentConfig(
    width=8, image_size=8, epochs=4, batch_size=16, optimizer="adamw", learning_rate=0.05, precision="full",
    augmentation=Augmentation(crop_scale=0.6, flip=False, colour=0.3),
    simclr=SimclrOptions(hidden_dim=16, projection_dim=8),
)  # fmt: skip
MakeImages = Callable[[Sequence[np.ndarray | None]], Artifact]
RunStage = Callable[..., Artifact]


def stripes(count: int, seed: int = 0) -> list[np.ndarray]:
    """Draw pictures of two kinds, stripes across (even rows) and stripes down (odd), of many colours."""
    random = np.random.default_rng(seed)
    pictures = []
    for number in range(count):
        picture = np.zeros((8, 8, 3))
        picture[random.integers(2) :: 2] = random.uniform(0.4, 1.0, 3)
        picture = picture if number % 2 == 0 else picture.transpose(1, 0, 2)
        pictures.append((255 * np.clip(picture + random.normal(0, 0.05, picture.shape), 0, 1)).astype(np.uint8))
    return pictures


def represent(run_stage: RunStage, images: Artifact, config: RepresentConfig = CONFIG, **more: Any) -> Artifact:
    return run_stage(config, produce, {"images": images.ref}, more.pop("target", TARGET), **more)


def test_like_images_come_near_each_other_without_labels(make_images: MakeImages, run_stage: RunStage) -> None:
    config = CONFIG.model_copy(update={"epochs": 20})
    artifact = represent(run_stage, make_images(stripes(64)), config)
    encoder = load_encoder(artifact.path("encoder.json"), artifact.path("encoder.safetensors"))
    fresh = torch.from_numpy(np.stack(stripes(60, seed=9))).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        features = encoder(fresh)
    unit = torch.nn.functional.normalize(features - features.mean(dim=0))
    similarity = (unit @ unit.T).fill_diagonal_(-2)
    kind = torch.arange(60) % 2
    assert float((kind[similarity.argmax(dim=1)] == kind).float().mean()) > 0.95
    curve = artifact.metrics["curve"]
    assert len(curve) == 20
    assert curve[-1] < curve[0] - 0.3


def test_the_artifact_says_what_it_saw_and_how_good_it_looks_without_labels(
    make_images: MakeImages, run_stage: RunStage
) -> None:
    images = make_images([*stripes(30), None])
    artifact = represent(run_stage, images)
    seen = pq.read_table(artifact.path("rows.parquet"))["sha256"].to_pylist()
    known = pq.read_table(images.path("rows.parquet"))["sha256"].to_pylist()
    assert seen == known[:30]
    assert artifact.metrics["rows"] == 30
    assert artifact.metrics["dim"] == 32
    assert 1 <= artifact.metrics["effective_rank"] <= 30
    assert artifact.metrics["uniformity"] < 0 < artifact.metrics["alignment"]
    assert artifact.metrics["images_per_second"] > 0
    assert json.loads(artifact.path("encoder.json").read_text())["method"] == "simclr"


def test_a_stopped_run_goes_on_to_the_same_bytes_as_an_unbroken_one(
    make_images: MakeImages, run_stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, stop, steps = make_images(stripes(40)), StopFlag(), []

    def augment_and_stop(batch: Tensor, how: Augmentation, generator: torch.Generator) -> Tensor:
        steps.append(1)
        if len(steps) == 5:
            stop.request(signal.SIGTERM)
        return augment(batch, how, generator)

    with monkeypatch.context() as patched:
        patched.setattr(module, "augment", augment_and_stop)
        with pytest.raises(InterruptedRunError, match="a checkpoint is written"):
            represent(run_stage, images, stop=stop)
    assert len(steps) == 5
    resumed = represent(run_stage, images)
    whole = represent(run_stage, images, target=Ref(kind="encoders", key="f" * 32))
    assert resumed.manifest.files == whole.manifest.files
    assert resumed.metrics["curve"] == whole.metrics["curve"]
    assert len(whole.metrics["curve"]) == 4


def test_another_seed_makes_another_encoder(make_images: MakeImages, run_stage: RunStage) -> None:
    images, other = make_images(stripes(20)), CONFIG.model_copy(update={"seed": 1})
    first = represent(run_stage, images)
    second = represent(run_stage, images, other, target=Ref(kind="encoders", key="f" * 32))
    assert first.manifest.files != second.manifest.files


def test_a_batch_above_the_dataset_is_the_whole_dataset(make_images: MakeImages, run_stage: RunStage) -> None:
    artifact = represent(run_stage, make_images(stripes(3)), CONFIG.model_copy(update={"batch_size": 4096}))
    assert artifact.metrics["rows"] == 3


def test_recomputing_makes_the_same_bytes_and_parts_another_encoder(
    make_images: MakeImages, run_stage: RunStage
) -> None:
    images, made = make_images(stripes(40)), []
    for number, changed in enumerate([{}, {"recompute": True}, {"accumulate": 3}]):
        target = Ref(kind="encoders", key=f"{number:032x}")
        made.append(represent(run_stage, images, CONFIG.model_copy(update=changed), target=target))
    assert made[0].manifest.files == made[1].manifest.files
    assert made[0].manifest.files != made[2].manifest.files
    assert made[2].metrics["curve"][-1] < made[2].metrics["curve"][0]
    assert CONFIG.model_copy(update={"recompute": True}).identity() == CONFIG.identity()


def test_a_knob_that_was_added_later_counts_only_where_it_is_turned() -> None:
    assert "accumulate" not in CONFIG.identity()
    assert CONFIG.model_copy(update={"accumulate": 2}).identity()["accumulate"] == 2


def test_a_training_may_go_on_from_an_earlier_encoder(make_images: MakeImages, run_stage: RunStage) -> None:
    first = represent(run_stage, make_images(stripes(40)))
    images, config = make_images(stripes(48)), CONFIG.model_copy(update={"start": first.key, "epochs": 1})
    inputs, target = {"images": images.ref, "start": first.ref}, Ref(kind="encoders", key="f" * 32)
    on = run_stage(config, produce, inputs, target)
    anew = represent(
        run_stage, images, CONFIG.model_copy(update={"epochs": 1}), target=TARGET.model_copy(update={"key": "d" * 32})
    )
    assert on.metrics["curve"][0] < anew.metrics["curve"][0] - 0.1
    assert on.manifest.inputs["start"] == first.ref
    old, new = (json.loads(a.path("encoder.json").read_text()) for a in (first, on))
    assert (old["mean"], old["std"]) == (new["mean"], new["std"])  # what its weights are used to
    assert config.identity() == CONFIG.model_copy(update={"epochs": 1}).identity()  # the input tells them apart


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({"width": 16}, "small_cnn of width 16 for 8 pixels"),
        ({"backbone": "resnet18", "image_size": 16}, "resnet18 for 16 pixels"),
    ],
)
def test_a_training_cannot_go_on_from_another_network(
    make_images: MakeImages, run_stage: RunStage, changed: dict[str, Any], wanted: str
) -> None:
    images = make_images(stripes(20))
    first = represent(run_stage, images, CONFIG.model_copy(update={"epochs": 1}))
    inputs, target = {"images": images.ref, "start": first.ref}, Ref(kind="encoders", key="f" * 32)
    with pytest.raises(
        ConfigError, match=f"is small_cnn of width 8 for 8 pixels, and not {wanted} as .* Ask for the same"
    ):
        run_stage(CONFIG.model_copy(update=changed), produce, inputs, target)


def test_a_method_that_trains_nothing_cannot_start_from_an_encoder() -> None:
    with pytest.raises(ValidationError, match="patches trains no network, so it cannot start"):
        RepresentConfig(method="patches", start="latest")


def test_too_little_memory_names_the_knobs(
    make_images: MakeImages, run_stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*_: object) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nmore")

    images = make_images(stripes(20))
    monkeypatch.setattr(module, "augment", fill)
    knobs = r"Set represent.recompute .*Raise represent.accumulate above 1, or lower represent.batch_size or image_size"
    with pytest.raises(ResourceError, match=r"16 images of 8 pixels a step \(CUDA out of memory.*" + knobs):
        represent(run_stage, images)
    with pytest.raises(ResourceError, match=r"MiB\.\)\. Raise represent.accumulate above 4"):
        represent(run_stage, images, CONFIG.model_copy(update={"recompute": True, "accumulate": 4}))


@pytest.mark.parametrize("usable", [0, 1])
def test_fewer_than_two_usable_images_are_refused(make_images: MakeImages, run_stage: RunStage, usable: int) -> None:
    images = make_images([*stripes(usable), None, None])
    with pytest.raises(DataError, match=f"at least 2 usable images, this dataset has {usable} of {usable + 2}"):
        represent(run_stage, images)


def test_a_loss_that_explodes_stops_the_run_and_publishes_nothing(
    make_images: MakeImages, run_stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(batch: Tensor, _how: Augmentation, _generator: torch.Generator) -> Tensor:
        return batch * torch.inf

    images = make_images(stripes(20))
    monkeypatch.setattr(module, "augment", explode)
    with pytest.raises(ResourceError, match="the loss is nan after step 1 of 4"):
        represent(run_stage, images)
    assert images.store.find(TARGET.kind, TARGET.key) is None


def test_images_that_are_all_the_same_are_said_to_teach_nothing(make_images: MakeImages, run_stage: RunStage) -> None:
    artifact = represent(run_stage, make_images(stripes(1) * 20))
    assert artifact.metrics["effective_rank"] == pytest.approx(0, abs=1)
    assert artifact.metrics["uniformity"] == pytest.approx(0, abs=1e-6)
    assert "The encoder collapsed: effective rank 0.0 of 32" in artifact.metrics["warnings"][0]
    assert "Lower represent.learning_rate" in artifact.metrics["warnings"][0]


def test_an_unknown_backbone_is_refused(make_images: MakeImages, run_stage: RunStage) -> None:
    with pytest.raises(ConfigError, match="'resnet19' is not known"):
        represent(run_stage, make_images(stripes(4)), CONFIG.model_copy(update={"backbone": "resnet19"}))


def test_what_chooses_an_encoder_is_not_hashed() -> None:
    chosen = CONFIG.model_copy(update={"encoder": "new", "refresh_when_grown": 0.5})
    assert chosen.identity() == CONFIG.identity()
    assert CONFIG.model_copy(update={"seed": 1}).identity() != CONFIG.identity()


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_effective_rank_counts_equal_directions(rank: int) -> None:
    directions = torch.linalg.qr(torch.randn(40, 40, generator=torch.Generator().manual_seed(0)))[0][:, :rank]
    features = torch.cat([directions, -directions]) @ torch.linalg.qr(torch.ones(8, 8) + torch.eye(8))[0][:rank]
    assert effective_rank(features) == pytest.approx(rank, rel=1e-3)


def test_effective_rank_of_a_collapsed_encoder_is_zero() -> None:
    assert effective_rank(torch.ones(10, 4)) == 0.0


def test_alignment_and_uniformity_follow_their_formulas() -> None:
    axes = torch.eye(3)
    assert alignment(axes, 5 * axes) == pytest.approx(0)
    assert alignment(axes, -axes) == pytest.approx(4)
    assert alignment(axes, axes.roll(1, 0)) == pytest.approx(2)
    assert uniformity(axes) == pytest.approx(-4)  # every pair has squared distance 2
    assert uniformity(torch.ones(4, 3)) == pytest.approx(0)
    assert uniformity(axes[:1]) == 0.0
