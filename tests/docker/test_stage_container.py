"""A run in a container as restricted as can be makes the files that an inline run makes, whatever happens to it."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from flows.demo import write_demo

pytestmark = [pytest.mark.docker, pytest.mark.timeout(2400)]

BRIEF = ["--set", "represent.epochs=12", "--set", "retrain.epochs=3", "--set", "retrain.labels=purified"]
SMALL = [*BRIEF, "--set", "report.times=false", "--workers", "1"]

PAGE = "report.html"


def artifacts(store: Path) -> dict[str, Any]:
    """Read from the manifests what every artifact holds.

    Where and when the source was read stands in listings, by which Python in the report's page.
    """
    found = {}
    for path in store.glob("*/*/manifest.json"):
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
        named = {entry["path"]: entry["sha256"] for entry in files if entry["path"] not in ("listing.parquet", PAGE)}
        found[path.parent.relative_to(store).as_posix()] = named
    return found


def page(store: Path) -> str:
    (found,) = store.glob(f"reports/*/{PAGE}")
    return re.sub(r"python \d+\.\d+\.\d+", "python", found.read_text(encoding="utf-8"))


def wait_for_training(store: Path, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not any('"train"' in path.read_text() for path in store.glob(".work/*/represent/progress.jsonl")):
        assert time.monotonic() < deadline, "no training began"
        time.sleep(0.1)


@pytest.mark.slow
def test_the_demo_stopped_and_gone_on_with_in_another_container_makes_the_files_of_an_inline_run(
    place, engine, tmp_path: Path
) -> None:
    document = str(write_demo(place.data))
    inline = [str(Path(sys.executable).with_name("puriflow")), "clean", document, "--store", str(tmp_path / "inline")]
    subprocess.run([*inline, *SMALL], check=True, capture_output=True)

    command = ["puriflow", "clean", document, "--store", "/store", *SMALL]
    engine(*place.words("--detach"), *command)
    wait_for_training(place.store)
    engine("stop", "--time=60", place.name)
    assert engine("inspect", "--format={{.State.ExitCode}}", place.name).stdout.strip() == "75"
    assert "checkpoint is written" in engine("logs", place.name).stderr
    assert list(place.store.glob("checkpoints/*/*/manifest.json"))
    engine("rm", place.name)

    place.run(*command)
    made = artifacts(place.store)
    assert made == artifacts(tmp_path / "inline")
    assert "labels.parquet" in next(files for name, files in made.items() if name.startswith("labels/"))
    assert page(place.store) == page(tmp_path / "inline")
    owners = {(path.lstat().st_uid, path.lstat().st_gid) for path in place.store.rglob("*")}
    assert owners == {(10001, 10001)}


def test_a_stage_that_needs_more_memory_than_its_container_has_says_so(place) -> None:
    document = str(write_demo(place.data))
    done = place.run_within("500m", "puriflow", "clean", document, "--store", "/store", *SMALL)
    assert done.returncode == 1
    assert "was killed by the system, probably because memory ran out" in done.stderr
    assert "Lower batch_size, or give the machine more memory" in done.stderr


def test_a_host_without_a_gpu_says_so_before_anything_starts(engine, images) -> None:
    if engine("run", "--rm", "--gpus=all", images.flow, "true", check=False).returncode == 0:
        pytest.skip("there is a GPU")
    refused = engine("run", "--rm", "--gpus=all", images.flow, "true", check=False)
    assert 'could not select device driver "" with capabilities: [[gpu]]' in refused.stderr
