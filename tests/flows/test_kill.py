"""Kill runs at any moment: the next run ends with the files of an unbroken one, and nothing half is ever seen."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.store import FileStore
from pipeline.store.verify import verify

WriteTiny = Callable[..., Path]
Tree = Callable[[Path], dict[str, str]]
PURIFLOW = Path(sys.executable).with_name("puriflow")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
MADE = {
    "ingest": ("datasets", "shards", "images", "annotations"), "represent": ("encoders",),
    "embed": ("features", "neighbours"), "purify": ("labels",), "retrain": ("models",), "report": ("reports",),
}  # fmt: skip
KILLS = int(os.environ.get("PURIFLOW_KILLS", "8"))


def start(document: Path, store: Path, *more: str) -> "subprocess.Popen[bytes]":
    command = [PURIFLOW, "clean", str(document), "--store", str(store), "--workers", "1", *more]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def finish(document: Path, store: Path) -> float:
    started = time.monotonic()
    assert start(document, store).wait(timeout=600) == 0
    return time.monotonic() - started


def stage_processes(store: Path, stage: str = "") -> list[int]:
    """Find the processes that work in a store's folders: stage programs and whatever they started."""
    mine = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().decode(errors="replace")
            folder = str((process / "cwd").readlink())
            if folder.startswith(str(store)) and (not stage or f"stages.{stage}\0" in words):
                mine.append(int(process.name))
    return mine


def wait_for_nobody(store: Path, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while (left := stage_processes(store)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == [], "a child outlived its killed parent"


def assert_nothing_half(store: Path) -> None:
    for verdict in verify(FileStore(store)):
        assert verdict.faults == (), verdict


def assert_swept(store: Path) -> None:
    """No lock, no staging, no work folder is left once a run has ended."""
    left = [str(p) for area in (".staging", ".locks", ".work") for p in (store / area).glob("*")]
    assert left == []
    assert not list((store / "checkpoints").glob("*/*"))


@pytest.fixture(scope="module")
def unbroken(
    tmp_path_factory: pytest.TempPathFactory, write_tiny: WriteTiny, tree: Tree
) -> tuple[Path, dict[str, str], float]:
    folder = tmp_path_factory.mktemp("kill")
    document = write_tiny(folder / "data")
    seconds = finish(document, folder / "unbroken")
    return document, tree(folder / "unbroken"), seconds


def test_killing_the_whole_run_again_and_again_changes_nothing(
    unbroken: tuple[Path, dict[str, str], float], tmp_path: Path, tree: Tree
) -> None:
    document, files, seconds = unbroken
    store = tmp_path / "store"
    chance = random.Random(0)
    for _ in range(KILLS):
        run = start(document, store)
        time.sleep(chance.uniform(0.1, seconds / 3))
        run.send_signal(signal.SIGKILL)
        run.wait()
        wait_for_nobody(store)
        assert_nothing_half(store)
    finish(document, store)
    assert tree(store) == files
    assert_swept(store)


@pytest.mark.parametrize("stage", MADE)
def test_killing_a_stage_process_fails_the_run_and_spares_the_next(
    unbroken: tuple[Path, dict[str, str], float], tmp_path: Path, stage: str, tree: Tree
) -> None:
    document, files, _ = unbroken
    store = tmp_path / "store"
    stages = list(MADE)
    for kind in (kind for before in stages[: stages.index(stage)] for kind in MADE[before]):  # these are done
        shutil.copytree(document.parent.parent / "unbroken" / kind, store / kind)
    run = start(document, store)
    while run.poll() is None:
        victims = stage_processes(store, stage)
        if victims:
            time.sleep(0.5)
            os.kill(victims[0], signal.SIGKILL)
            break
        time.sleep(0.05)
    assert run.wait(timeout=240) == 1
    wait_for_nobody(store)
    assert_nothing_half(store)
    finish(document, store)
    assert tree(store) == files
    assert_swept(store)


def test_a_polite_end_leaves_a_checkpoint_and_exit_code_75(
    unbroken: tuple[Path, dict[str, str], float], tmp_path: Path
) -> None:
    document, _, _ = unbroken
    store, long = tmp_path / "store", ["--set", "represent.epochs=200"]
    run = start(document, store, *long)
    deadline = time.monotonic() + 60
    progress = store / ".work"
    while time.monotonic() < deadline and not any(
        '"train"' in file.read_text() for file in progress.glob("*/represent/progress.jsonl")
    ):
        time.sleep(0.05)
    run.send_signal(signal.SIGTERM)
    assert run.wait(timeout=60) == 75
    assert list((store / "checkpoints").glob("*/*/manifest.json"))
    again = start(document, store, *long)
    assert again.wait(timeout=600) == 0
    assert_swept(store)
