"""The uint8 cache and the decoding that fills it."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.artifacts import Artifact
from pipeline.datasets.images import ImageRows, open_images
from pipeline.errors import DataError, ResourceError
from stages.images import decoding
from stages.images.cache import ImageCache, write_cache
from stages.images.decode import BrokenImageError
from stages.images.decoding import Fit, decode_blocks, decode_by_workers, fit_square

CPU = torch.device("cpu")
MakeImages = Callable[[Sequence[np.ndarray | None]], Artifact]


def pictures(count: int, size: int = 8) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8))


@pytest.fixture
def images(make_images: MakeImages) -> ImageRows:
    return open_images(make_images(pictures(20)))


def test_images_of_the_right_size_are_not_touched(images: ImageRows, tmp_path: Path) -> None:
    pixels = write_cache(tmp_path, decode_blocks(images, np.arange(20), 8, 1, 6), (20, 8))
    assert np.array_equal(pixels, np.stack(pictures(20)))


def test_the_cache_leaves_no_file_behind(images: ImageRows, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    write_cache(folder, decode_blocks(images, np.arange(20), 8, 1), (20, 8))
    assert list(folder.iterdir()) == []


def test_only_the_wanted_rows_are_decoded_in_their_order(images: ImageRows) -> None:
    rows = np.array([7, 3, 3, 19])
    assert np.array_equal(np.concatenate(list(decode_blocks(images, rows, 8, 1))), np.stack(pictures(20))[rows])


def test_the_centre_square_of_any_image_is_taken() -> None:
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 200
    for image in (wide, wide.transpose(1, 0, 2)):
        square = np.asarray(fit_square(Image.fromarray(image), 5))
        assert square.shape == (5, 5, 3)
        assert (square == 200).all()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_fit_keeps_a_share_of_the_shorter_side(interpolation: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    fitted = fit_square(Image.fromarray(noise), Fit(16, 0.5, interpolation))
    centre = Image.fromarray(noise[10:30, 20:40]).resize((16, 16), Image.Resampling[interpolation.upper()])
    assert np.array_equal(np.asarray(fitted), np.asarray(centre))


def test_mixed_sizes_become_one(make_images: MakeImages) -> None:
    images = open_images(make_images([np.full((h, w, 3), 9, np.uint8) for h, w in ((1, 1), (3, 50), (40, 7))]))
    (block,) = decode_blocks(images, np.arange(3), 16, 1)
    assert block.shape == (3, 16, 16, 3)
    assert (block == 9).all()


def test_an_image_that_broke_since_ingest_is_named(images: ImageRows, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_data: bytes, _max_pixels: int) -> Image.Image:
        raise BrokenImageError("truncated")

    monkeypatch.setattr(decoding, "decode_image", fail)
    with pytest.raises(DataError, match="row 's0003' was usable at ingest and is no more: truncated"):
        list(decode_blocks(images, np.array([3]), 8, 1))


def test_batches_are_floats_and_mean_and_spread_are_those_of_the_pixels(images: ImageRows, tmp_path: Path) -> None:
    cache = ImageCache(write_cache(tmp_path, decode_blocks(images, np.arange(20), 8, 1), (20, 8)), CPU)
    expected = np.stack(pictures(20)) / 255
    batch = cache.batch(torch.tensor([5, 2]))
    assert batch.shape == (2, 3, 8, 8)
    assert np.allclose(batch.permute(0, 2, 3, 1).numpy(), expected[[5, 2]], atol=1e-6)
    mean, std = cache.mean_and_std()
    assert mean == pytest.approx(expected.mean(axis=(0, 1, 2)), abs=1e-5)
    assert std == pytest.approx(expected.std(axis=(0, 1, 2)), abs=1e-5)


@pytest.mark.slow
def test_workers_decode_the_same_in_the_same_order(images: ImageRows) -> None:
    blocks = deque(np.array_split(np.arange(20), 7))
    assert np.array_equal(np.concatenate(list(decode_by_workers(images, blocks, 8, 2))), np.stack(pictures(20)))


@pytest.mark.slow
def test_a_worker_that_is_killed_is_reported(images: ImageRows) -> None:
    blocks = decode_by_workers(images, deque(np.array_split(np.arange(20), 20)), 8, 1)
    next(blocks)
    for child in multiprocessing.active_children():
        child.kill()
    with pytest.raises(ResourceError, match="one of 1 decoding processes was killed"):
        list(blocks)


WITH_WORKERS = """
import sys, time
from collections import deque
import numpy as np
from pipeline.artifacts import Ref
from pipeline.datasets.images import open_images
from pipeline.store import open_store
from stages.images.decoding import decode_by_workers
if __name__ == "__main__":
    images = open_images(open_store(sys.argv[1]).get(Ref(kind="images", key=sys.argv[2])))
    blocks = decode_by_workers(images, deque(np.array_split(np.arange(20), 10)), 8, 2)
    next(blocks)
    print("started", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_workers_die_with_a_parent_that_is_killed(make_images: MakeImages, tmp_path: Path) -> None:
    artifact = make_images(pictures(20))
    script = tmp_path / "with_workers.py"
    script.write_text(WITH_WORKERS)
    command = [sys.executable, str(script), str(tmp_path / "store"), artifact.key]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "started\n"
        assert len(members(parent.pid)) >= 3  # the parent and two workers
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 10
    while members(parent.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert members(parent.pid) == []


def members(session: int) -> list[int]:
    """List the living processes of a session."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, _, its_session = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:4]
            except (OSError, IndexError):
                continue
            if int(its_session) == session and state != "Z":
                found.append(int(entry.name))
    return found
