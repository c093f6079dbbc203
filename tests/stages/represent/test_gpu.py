"""On a GPU: the data path makes nobody wait, every way to the device brings the same images, and training works."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from pipeline.artifacts import Artifact, Ref
from stages.images import cache as module
from stages.images.augment import augment
from stages.images.augmentation import Augmentation
from stages.images.cache import ImageCache
from stages.represent.config import RepresentConfig, SimclrOptions
from stages.represent.produce import produce
from stages.training.schedule import Plan

pytestmark = pytest.mark.gpu

PIXELS = np.random.default_rng(0).integers(0, 256, (600, 16, 16, 3), np.uint8)
CONFIG = RepresentConfig(
    width=16, image_size=16, epochs=4, batch_size=64, optimizer="adamw", learning_rate=0.01, precision="full",
    simclr=SimclrOptions(hidden_dim=32, projection_dim=16),
)  # fmt: skip


@pytest.fixture
def gpu() -> Iterator[torch.device]:
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    yield torch.device("cuda")
    torch.cuda.set_sync_debug_mode("default")


def test_a_batch_and_its_views_make_nobody_wait(gpu: torch.device) -> None:
    cache, generator = ImageCache(PIXELS, gpu), torch.Generator(gpu).manual_seed(0)
    for mode in ("default", "error"):  # the first brings the constants
        torch.cuda.set_sync_debug_mode(mode)
        images = cache.batch(torch.arange(0, 600, 2))
        augment(torch.cat([images, images]), Augmentation(blur=0.5, rotation=5), generator)


def test_batches_that_are_brought_ahead_are_those_that_are_resident(
    gpu: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    resident = ImageCache(PIXELS, gpu)
    monkeypatch.setattr(module, "RESIDENT_SHARE", 0.0)
    brought = ImageCache(PIXELS, gpu)
    plan = Plan(600, 64, 5, seed=0)
    for step in range(plan.steps):
        rows = plan.batch_rows(plan.epoch_order(step // plan.steps_per_epoch), step)
        batch = brought.batch(rows, plan.rows_after(step))
        assert torch.equal(batch, resident.batch(rows))
        batch.mul_(batch)  # work on this stream, while the next batch is on its way


@pytest.mark.parametrize("way", ["brought", "streamed", "compiled"])
def test_every_way_to_train_goes_like_the_plain_one(
    make_images: Callable[..., Artifact], run_stage: Callable[..., Artifact], monkeypatch: pytest.MonkeyPatch,
    gpu: torch.device, way: str,
) -> None:  # fmt: skip
    inputs = {"images": make_images(list(PIXELS[:256])).ref}
    plain = run_stage(CONFIG, produce, inputs, Ref(kind="encoders", key="e" * 32), device=gpu.type)
    config = CONFIG.model_copy(update={"compile": way == "compiled"})
    if way == "brought":
        monkeypatch.setattr(module, "RESIDENT_SHARE", 0.0)
    other = run_stage(
        config, produce, inputs, Ref(kind="encoders", key="f" * 32), device=gpu.type,
        cache_gib=0.0 if way == "streamed" else None,
    )  # fmt: skip
    assert not [warning for warning in other.metrics.get("warnings", []) if "compile" in warning]
    assert other.metrics["curve"] == pytest.approx(plain.metrics["curve"], rel=0.02)
