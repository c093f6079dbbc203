"""Images decoded on the way: the same as from the cache, ahead, and only where the disk has no room."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pipeline.artifacts import Artifact, Ref
from pipeline.config import StageConfig
from pipeline.datasets.images import ImageRows, open_images
from stages.images import stream
from stages.images.cache import ImageCache
from stages.images.load import disk_budget, load_pixels
from stages.images.stream import StreamedPixels
from stages.shell import Context
from stages.training.schedule import Plan

CPU = torch.device("cpu")
MakeImages = Callable[[Sequence[np.ndarray | None]], Artifact]
PICTURES = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)
USABLE = np.array([1, 2, 3, 5, 8, 13, 14, 15, 16, 17])


@pytest.fixture
def images(make_images: MakeImages) -> ImageRows:
    return open_images(make_images(list(PICTURES)))


def floats(rows: Sequence[int]) -> torch.Tensor:
    return torch.from_numpy(PICTURES[USABLE[list(rows)]]).permute(0, 3, 1, 2).float() / 255


def test_batches_are_those_of_the_cache(images: ImageRows) -> None:
    streamed = ImageCache(StreamedPixels(images, USABLE, 8, 1), CPU)
    cached = ImageCache(PICTURES[USABLE], CPU)
    assert len(streamed) == len(cached) == 10
    assert streamed.mean_and_std() == cached.mean_and_std()
    for rows in (torch.tensor([3, 9, 3]), torch.arange(10)):
        assert torch.equal(streamed.batch(rows), cached.batch(rows))


@pytest.mark.slow
def test_workers_decode_ahead_the_same_batches_in_their_order(
    images: ImageRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "PIECE_ROWS", 3)
    plan = Plan(10, 7, 3, seed=0)
    cache = ImageCache(StreamedPixels(images, USABLE, 8, 2), CPU)
    seen = []
    for step in range(plan.steps):
        rows = plan.batch_rows(plan.epoch_order(step // plan.steps_per_epoch), step)
        seen.append(cache.batch(rows, plan.rows_after(step)))
        assert torch.equal(seen[-1], floats(rows.tolist()))
    assert [len(batch) for batch in seen] == [7, 3] * 3


def test_no_more_is_prepared_than_will_be_asked_for_and_only_once(images: ImageRows) -> None:
    taken: list[list[int]] = []

    def watched(batches: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
        for rows in batches:
            taken.append(rows.tolist())
            yield torch.from_numpy(PICTURES[USABLE[rows.numpy()]])

    pixels = StreamedPixels(images, USABLE, 8, 1)
    pixels.take_all = watched  # type: ignore[method-assign]
    cache = ImageCache(pixels, CPU)
    plan = Plan(10, 4, 2, seed=0, keep_rest=False)
    asked = [plan.batch_rows(plan.epoch_order(step // 2), step) for step in range(4)]
    for step, rows in enumerate(asked):
        cache.batch(rows, plan.rows_after(step))
    assert taken == [rows.tolist() for rows in asked]


def test_another_batch_than_the_one_prepared_is_made_too(images: ImageRows) -> None:
    cache = ImageCache(StreamedPixels(images, USABLE, 8, 1), CPU)
    cache.batch(torch.tensor([0, 1]), iter([torch.tensor([2, 3])]))
    assert torch.equal(cache.batch(torch.tensor([4, 5]), iter([torch.tensor([6, 7])])), floats([4, 5]))
    assert torch.equal(cache.batch(torch.tensor([9])), floats([9]))  # asked for beside the plan
    assert torch.equal(cache.batch(torch.tensor([6, 7]), iter([])), floats([6, 7]))


@pytest.mark.parametrize(("cache_gib", "streams"), [(None, False), (1.0, False), (0.0, True)])
def test_images_are_streamed_where_the_disk_has_no_room(
    make_images: MakeImages, run_stage: Callable[..., Artifact], cache_gib: float | None, streams: bool
) -> None:
    loaded = []

    def produce(_: object, context: Context) -> dict[str, int]:
        loaded.append(load_pixels(open_images(context.input("images")), USABLE, 8, context))
        return {}

    ref = make_images(list(PICTURES)).ref
    run_stage(StageConfig(), produce, {"images": ref}, Ref(kind="k", key="k"), cache_gib=cache_gib)
    assert isinstance(loaded[0], StreamedPixels) == streams


def test_half_of_the_free_disk_may_be_taken(
    run_stage: Callable[..., Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    budgets = []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))

    def produce(_: object, context: Context) -> dict[str, int]:
        budgets.append(disk_budget(context))
        return {}

    run_stage(StageConfig(), produce, {}, Ref(kind="k", key="k"))
    run_stage(StageConfig(), produce, {}, Ref(kind="k", key="l"), cache_gib=2)
    assert budgets == [500, 2 << 30]
