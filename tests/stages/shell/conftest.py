"""Run the tiny stage as the real program that it is."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.artifacts import Artifact
from pipeline.keys import digest
from pipeline.progress import read_progress
from pipeline.requests import Resources, StageRequest
from pipeline.store import Store, open_store
from pipeline.store.verify import faults_of

PROGRAM = Path(__file__).with_name("tiny_stage.py")


@dataclass
class Stage:
    """One request to the tiny stage, which may be tried again and again."""

    folder: Path
    config: dict[str, object]
    checkpoint_seconds: float = 1000
    key: str = ""
    url: str = ""
    attempts: int = field(default=0)

    def __post_init__(self) -> None:
        self.key = self.key or digest({k: v for k, v in self.config.items() if k not in ("pause", "fault")})
        self.url = self.url or str(self.folder / "störe 1")

    @property
    def store(self) -> Store:
        return open_store(self.url)

    @property
    def work(self) -> Path:
        return self.folder / f"wörk {self.attempts}"

    def start(self, processes: int = 1, **environment: str) -> "subprocess.Popen[str]":
        self.attempts += 1
        self.work.mkdir(exist_ok=True)
        request = StageRequest(
            stage="tiny", kind="tiny", key=self.key, config=self.config, store=self.url, work=str(self.work),
            resources=Resources(checkpoint_seconds=self.checkpoint_seconds),
        )  # fmt: skip
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        words = launcher if processes > 1 else ["-W", "error"]
        return subprocess.Popen(
            [sys.executable, *words, PROGRAM, request.save(self.work / "request.json")], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **environment}, start_new_session=True,
        )  # fmt: skip

    def run(self, processes: int = 1, **environment: str) -> tuple[int, str, str]:
        process = self.start(processes, **environment)
        out, err = process.communicate(timeout=60 * processes)
        return process.returncode, out, err

    def artifact(self) -> Artifact | None:
        return self.store.find("tiny", self.key)

    def files(self) -> dict[str, str]:
        """Return the files of the finished artifact, which must be whole, with their checksums."""
        found = self.artifact()
        assert found is not None
        assert faults_of(found) == ()
        return {entry.path: entry.sha256 for entry in found.manifest.files}

    def wait_for_step(self, step: int, seconds: float = 30) -> None:
        """Wait until the progress file says that a step is done."""
        wait_for(lambda: (self.work / "progress.jsonl").exists() and self.last_step() >= step, seconds)

    def last_step(self) -> float:
        lines, _ = read_progress(self.work)
        return lines[-1].step if lines else 0


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


@pytest.fixture
def stage(tmp_path: Path) -> Callable[..., Stage]:
    def make(checkpoint_seconds: float = 1000, folder: str = ".", url: str = "", **config: object) -> Stage:
        home = tmp_path / folder
        home.mkdir(exist_ok=True)
        return Stage(home, config, checkpoint_seconds, url=url)

    return make
