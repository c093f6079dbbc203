"""Images as people really have them, through the real stages: represent, then embed."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.artifacts import Artifact, Manifest, Ref, list_files
from pipeline.errors import DataError, ResourceError
from pipeline.features import open_features
from pipeline.store import FileStore
from stages.embed.config import EmbedConfig
from stages.embed.produce import produce as embed
from stages.networks.encoder import load_encoder, save_encoder
from stages.represent import produce as module
from stages.represent.config import RepresentConfig
from stages.represent.options import SimclrOptions
from stages.represent.produce import produce

ENCODERS = Ref(kind="encoders", key="e" * 32)
CONFIG = RepresentConfig(
    width=8, image_size=8, epochs=1, batch_size=16, precision="full",
    simclr=SimclrOptions(hidden_dim=16, projection_dim=8),
)  # fmt: skip
MakeImages = Callable[[Sequence[np.ndarray | None]], Artifact]
RunStage = Callable[..., Artifact]

SHAPES = {
    "odd sizes": [(7, 13, 3), (13, 7, 3), (9, 9, 3), (1, 1, 3), (3, 200, 3)],
    "one channel": [(8, 8), (5, 11)],
    "four channels": [(8, 8, 4), (11, 5, 4)],
    "all of them": [(8, 8), (8, 9, 3), (10, 8, 4), (64, 3, 3)],
}


def drawn(shapes: Sequence[tuple[int, ...]], count: int = 12, depth: type = np.uint8) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, np.iinfo(depth).max, shapes[i % len(shapes)], depth) for i in range(count)]


def features_of(run_stage: RunStage, images: Artifact, config: RepresentConfig = CONFIG) -> np.ndarray:
    """Train, embed, and return the features of all rows."""
    encoder = run_stage(config, produce, {"images": images.ref}, ENCODERS)
    inputs = {"images": images.ref, "encoder": encoder.ref}
    near = run_stage(EmbedConfig(k=3, batch_size=8), embed, inputs, Ref(kind="neighbours", key="a" * 32))
    features = open_features(images.store.get(near.manifest.inputs["features"]))
    assert features.ok.all()
    return np.asarray(features.array(), np.float32)


@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
def test_images_of_any_shape_become_features(
    make_images: MakeImages, run_stage: RunStage, shapes: list[tuple[int, ...]]
) -> None:
    rows = features_of(run_stage, make_images(drawn(shapes)))
    assert rows.shape == (12, 32)
    assert np.isfinite(rows).all()
    assert (rows.std(axis=0) > 0).any()


def test_images_of_sixteen_bits_keep_their_contrast(make_images: MakeImages, run_stage: RunStage) -> None:
    rows = features_of(run_stage, make_images(drawn([(8, 8), (9, 14)], depth=np.uint16)))
    assert np.isfinite(rows).all()
    assert rows.std(axis=0).max() > 0.01  # not all white, as 16 bits cut at 255 would be


@pytest.mark.parametrize("count", [2, 3])
def test_two_images_in_a_batch_for_hundreds_are_enough(
    make_images: MakeImages, run_stage: RunStage, count: int
) -> None:
    config = CONFIG.model_copy(update={"batch_size": 512})
    assert features_of(run_stage, make_images(drawn([(8, 8, 3)], count)), config).shape == (count, 32)


def test_one_image_teaches_nothing(make_images: MakeImages, run_stage: RunStage) -> None:
    with pytest.raises(DataError, match=r"at least 2 usable images, this dataset has 1 of 1\. Add images"):
        features_of(run_stage, make_images(drawn([(8, 8, 3)], 1)))


def test_an_image_that_breaks_after_ingest_is_named_with_what_to_do(
    make_images: MakeImages, run_stage: RunStage, store: FileStore
) -> None:
    images = make_images(drawn([(8, 8, 3)]))
    shard = next((store.root / "shards").glob("*/data.bin"))
    whole = shard.read_bytes()
    shard.chmod(0o644)
    shard.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))
    with pytest.raises(DataError, match=r"row 's00\d\d' was usable at ingest .* Run `puriflow store verify --discard`"):
        features_of(run_stage, images)


def test_weights_that_overflow_are_neither_shipped_nor_measured(
    make_images: MakeImages, run_stage: RunStage, monkeypatch: pytest.MonkeyPatch, store: FileStore
) -> None:
    def overflow(*arguments: Any, **more: Any) -> torch.optim.Optimizer:
        optimiser = build(*arguments, **more)
        optimiser.register_step_post_hook(
            lambda it, *_: [p.detach().fill_(torch.inf) for group in it.param_groups for p in group["params"][:1]]
        )
        return optimiser

    build = module.build_optimiser
    monkeypatch.setattr(module, "build_optimiser", overflow)
    with pytest.raises(ResourceError, match=r"holds NaN or infinity after step 1 of 1 .* there was no checkpoint yet"):
        features_of(run_stage, make_images(drawn([(8, 8, 3)])))
    assert store.find(ENCODERS.kind, ENCODERS.key) is None


def test_an_encoder_that_returns_infinity_is_not_embedded_with(
    make_images: MakeImages, run_stage: RunStage, store: FileStore
) -> None:
    images = make_images(drawn([(8, 8, 3)]))
    made = run_stage(CONFIG, produce, {"images": images.ref}, ENCODERS)
    encoder = load_encoder(made.path("encoder.json"), made.path("encoder.safetensors"))
    next(encoder.parameters()).data.fill_(torch.inf)
    ref = Ref(kind="encoders", key="f" * 32)
    with store.staging(ref.kind, ref.key) as folder:
        save_encoder(encoder, folder)
        store.publish(folder, Manifest(kind=ref.kind, key=ref.key, files=list_files(folder)))
    inputs = {"images": images.ref, "encoder": ref}
    with pytest.raises(DataError, match=r"returns NaN or infinity for some images\. Train it again"):
        run_stage(EmbedConfig(k=3), embed, inputs, Ref(kind="neighbours", key="a" * 32))
