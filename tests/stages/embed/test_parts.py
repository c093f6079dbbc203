"""Encoding by parts: the same files for any number of processes, and nothing finished is computed twice."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from pipeline.artifacts import Artifact, Manifest, Ref, list_files
from pipeline.errors import DataError, DiskFullError, InterruptedRunError, TerminatedError
from pipeline.keys import digest
from pipeline.requests import Resources, StageRequest
from pipeline.store import FileStore
from stages.embed import parts as module
from stages.embed.config import EmbedConfig
from stages.embed.encode import EmbedRun
from stages.embed.parts import Parts, batches, part_rows
from stages.embed.produce import produce
from stages.networks.encoder import Encoder, EncoderDescription, save_encoder
from stages.shell.stop import StopFlag

MakeImages = Callable[[Sequence[np.ndarray | None]], Artifact]
RunStage = Callable[..., Artifact]
CONFIG = EmbedConfig(k=5, batch_size=7)


def pictures(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), np.uint8))


@pytest.fixture
def encoder(store: FileStore) -> Artifact:
    torch.manual_seed(0)
    description = EncoderDescription(backbone="small_cnn", width=8, image_size=8, mean=(0.5,) * 3, std=(0.3,) * 3)
    ref = Ref(kind="encoders", key=digest("encoder"))
    with store.staging(ref.kind, ref.key) as folder:
        save_encoder(Encoder(description), folder)
        return store.publish(folder, Manifest(kind=ref.kind, key=ref.key, files=list_files(folder)))


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SMALLEST", 16)
    monkeypatch.setattr(module, "LARGEST", 16)


def parts_in(store: FileStore) -> list[str]:
    return [name for key in store.children("checkpoints") for name in store.children(f"checkpoints/{key}")]


def embed(run_stage: RunStage, images: Artifact, encoder: Artifact, stop: StopFlag | None = None) -> Artifact:
    refs = {"images": images.ref, "encoder": encoder.ref}
    features = run_stage(CONFIG, produce, refs, Ref(kind="neighbours", key=digest("n")), stop=stop).manifest.inputs
    return images.store.get(features["features"])


def forget(store: FileStore, features: Artifact) -> None:
    store.remove(f"features/{features.key}")
    store.remove(f"neighbours/{digest('n')}")


def encoding(monkeypatch: pytest.MonkeyPatch, after: Callable[[int], None] = lambda rows: None) -> list[int]:
    """Count the rows of each encoded batch, and do something after it."""
    encoded: list[int] = []
    encode = EmbedRun._encode

    def count(run: EmbedRun, network: Encoder, pixels: np.ndarray, device: torch.device) -> Any:
        encoded.append(len(pixels))
        after(sum(encoded))
        return encode(run, network, pixels, device)

    monkeypatch.setattr(EmbedRun, "_encode", count)
    return encoded


@pytest.mark.parametrize(("rows", "size"), [(1, 1024), (262_144, 1024), (262_145, 2048), (10**9, 16_384)])
def test_the_rows_of_a_part_follow_from_the_rows(rows: int, size: int) -> None:
    assert part_rows(rows) == size


@pytest.mark.usefixtures("small_parts")
def test_parts_come_back_in_any_order_and_only_for_their_content(store: FileStore) -> None:
    content = pa.chunked_array([[f"c{i}" for i in range(40)]])
    values = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    parts = Parts(store, "key", content)
    assert [len(parts.rows(number)) for number in range(len(parts))] == [16, 16, 8]
    assert [len(rows) for rows in batches(parts, [0, 2], 7)] == [7, 7, 2, 7, 1]
    for number in (2, 0):
        parts.save(number, values[parts.rows(number)])
    assert parts.missing(range(3)) == [1]
    parts.save(1, values[16:32])
    rows = np.random.default_rng(1).permutation(40)
    assert np.array_equal(parts.read(rows, 3), values[rows])
    other = Parts(store, "key", pa.chunked_array([["new", *content.to_pylist()[1:]]]))
    assert other.missing(range(3)) == [0]
    parts.clear()
    assert parts_in(store) == []


@pytest.mark.usefixtures("small_parts")
def test_a_damaged_part_is_computed_again(store: FileStore) -> None:
    parts = Parts(store, "key", pa.chunked_array([["a", "b"]]))
    parts.save(0, np.ones((2, 3), np.float32))
    next((store.root / "checkpoints").rglob("part.npy")).write_bytes(b"torn")
    assert parts.missing([0]) == [0]
    parts.save(0, np.ones((2, 3), np.float32))
    assert parts.missing([0]) == []


@pytest.mark.usefixtures("small_parts")
def test_a_stopped_run_computes_only_the_parts_that_are_left(
    make_images: MakeImages, encoder: Artifact, store: FileStore, run_stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, stop = make_images([*pictures(100), None]), StopFlag()
    encoded = encoding(monkeypatch, lambda rows: stop.request(signal.SIGTERM) if rows == 39 else None)
    with pytest.raises(InterruptedRunError, match="a checkpoint is written"):
        embed(run_stage, images, encoder, stop)
    assert len(parts_in(store)) == 2
    resumed = embed(run_stage, images, encoder)
    assert sum(encoded) == 100 + 7
    assert parts_in(store) == []
    found = resumed.manifest.files
    forget(store, resumed)
    assert embed(run_stage, images, encoder).manifest.files == found


@pytest.mark.usefixtures("small_parts")
def test_a_run_stopped_before_its_first_part_says_so(
    make_images: MakeImages, encoder: Artifact, run_stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = StopFlag()
    encoding(monkeypatch, lambda _: stop.request(signal.SIGTERM))
    with pytest.raises(TerminatedError, match="stopped by SIGTERM before a checkpoint"):
        embed(run_stage, make_images(pictures(50)), encoder, stop)


@pytest.mark.usefixtures("small_parts")
def test_a_full_disk_is_told_and_what_was_finished_stays(
    make_images: MakeImages, encoder: Artifact, store: FileStore, run_stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = np.save
    monkeypatch.setattr(module.np, "save", lambda *a, **k: full() if len(parts_in(store)) == 3 else save(*a, **k))
    with pytest.raises(OSError, match="No space left") as caught:
        embed(run_stage, make_images(pictures(100)), encoder)
    assert isinstance(translated(caught.value), DiskFullError)
    assert len(parts_in(store)) == 3


def full() -> None:
    raise OSError(28, "No space left on device")


def translated(error: BaseException) -> BaseException:
    from stages.shell.translate import translate

    return translate(error)


def test_an_encoder_that_returns_no_numbers_is_refused(
    make_images: MakeImages, encoder: Artifact, run_stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Encoder, "forward", lambda self, images: torch.full((len(images), self.dim), torch.nan))
    with pytest.raises(DataError, match="the encoder returns NaN or infinity"):
        embed(run_stage, make_images(pictures(5)), encoder)


PROGRAM = """
import runpy, sys, time
seconds = float(sys.argv.pop())
from stages.embed import encode, parts
parts.SMALLEST = parts.LARGEST = 16
encode_batch = encode.EmbedRun._encode
def slowly(*arguments):
    time.sleep(seconds)
    return encode_batch(*arguments)
encode.EmbedRun._encode = slowly
clear = parts.Parts.clear
def keep(self):
    print(sorted(self._store.children(self._place)), flush=True)
    clear(self)
parts.Parts.clear = keep
runpy.run_module("stages.embed", run_name="__main__")
"""


def program(store: FileStore, images: Artifact, encoder: Artifact, folder: Path) -> list[str]:
    """Write request and program; return the command's last words."""
    request = StageRequest(
        stage="embed", kind="neighbours", key=digest("n"), config=CONFIG.model_dump(mode="json"), store=store.url,
        inputs={"images": images.ref, "encoder": encoder.ref}, work=str(folder / "work"),
        resources=Resources(device="cpu", workers=1),
    )  # fmt: skip
    (folder / "program.py").write_text(PROGRAM, encoding="utf-8")
    return [str(folder / "program.py"), str(request.save(folder / "request.json"))]


def features_in(store: FileStore) -> Artifact:
    (key,) = store.children("features")
    return store.get(Ref(kind="features", key=key))


@pytest.mark.slow
def test_two_processes_write_the_parts_of_one(
    make_images: MakeImages, encoder: Artifact, store: FileStore, tmp_path: Path
) -> None:
    images = make_images(pictures(90))
    words = [*program(store, images, encoder, tmp_path), "0"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    written, files = [], []
    for command in ([sys.executable], launcher):
        done = subprocess.run([*command, *words], capture_output=True, text=True, env=os.environ, check=False)
        assert done.returncode == 0, done.stderr
        written.append(done.stdout.splitlines()[0])
        features = features_in(store)
        files.append(features.manifest.files)
        forget(store, features)
    assert written[0].count("-") == 6
    assert written[0] == written[1]
    assert files[0] == files[1]


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_parts_to_the_same_bytes(
    make_images: MakeImages, encoder: Artifact, store: FileStore, tmp_path: Path
) -> None:
    images = make_images(pictures(90))
    command = [sys.executable, *program(store, images, encoder, tmp_path)]
    with subprocess.Popen([*command, "0.3"], stdout=subprocess.DEVNULL) as process:
        limit = time.monotonic() + 120
        while len(parts_in(store)) < 2 and time.monotonic() < limit:
            time.sleep(0.02)
        process.kill()
    kept = parts_in(store)
    assert 2 <= len(kept) < 6
    again = subprocess.run([*command, "0"], capture_output=True, text=True, check=True)
    assert all(name in again.stdout for name in kept)
    resumed = features_in(store)
    forget(store, resumed)
    subprocess.run([*command, "0"], stdout=subprocess.DEVNULL, check=True)
    assert features_in(store).manifest.files == resumed.manifest.files
