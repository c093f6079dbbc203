"""What the tests of the service share: a small dataset, a service that runs, one on trial."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.service.processes import MARK_ENV

PATIENCE = 1200.0
PROGRAM = str(Path(sys.executable).with_name("puriflow"))
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@pytest.fixture(scope="session")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dataset that comes as features: the shortest way through the recipe."""
    folder = tmp_path_factory.mktemp("features")
    kinds = [i % 2 for i in range(60)]
    table = {"sample_id": [f"r{i}" for i in range(60)], "given_label": kinds, "trusted_label": kinds}
    pq.write_table(pa.table(table), folder / "rows.parquet")
    noise = np.random.default_rng(0).normal(size=(60, 4))
    np.save(folder / "features.npy", (noise + np.array(kinds)[:, None] * 6).astype(np.float32))
    dataset = "{name: points, kind: features, table: rows.parquet, features: features.npy}"
    (folder / "clean.yaml").write_text(f"dataset: {dataset}\nretrain: {{enabled: false}}\n", encoding="utf-8")
    return folder / "clean.yaml"


def free_port() -> int:
    """Find a port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Up:
    """A service that runs, asked as its browser pages ask it."""

    told: dict[str, Any]
    process: "subprocess.Popen[str]"
    command: list[str]
    http: httpx.Client

    def ask(self, path: str, told: Any = None, method: str = "") -> Any:
        """Ask the server, for a while if it is away or its database is busy (503); with something to tell it, POST."""
        deadline = time.monotonic() + PATIENCE
        while True:
            with suppress(httpx.TransportError):
                answer = self.http.request(method or ("GET" if told is None else "POST"), f"/api/{path}", json=told)
                if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    break
            assert time.monotonic() < deadline, "the server does not come back"
            time.sleep(1)
        assert answer.is_success, f"{path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def start(self, deployment: str, parameters: Mapping[str, Any]) -> str:
        """Start a run as the form does."""
        found = self.ask(f"deployments/name/{deployment}")["id"]
        return str(self.ask(f"deployments/{found}/create_flow_run", {"parameters": parameters})["id"])

    def cancel(self, run: str) -> None:
        """Cancel a run as the button does."""
        state = {"type": "CANCELLING", "name": "Cancelling"}
        answer = self.ask(f"flow_runs/{run}/set_state", {"state": state})
        assert answer["status"] == "ACCEPT", answer

    def state(self, run: str) -> dict[str, Any]:
        """Say how a run is."""
        return dict(self.ask(f"flow_runs/{run}")["state"] or {})

    def eventually(self, what: Callable[[], Any], seconds: float = PATIENCE) -> Any:
        """Wait until something is there."""
        deadline = time.monotonic() + seconds
        while not (found := what()):
            assert time.monotonic() < deadline, f"{what} did not come"
            time.sleep(0.3)
        return found

    def end_of(self, run: str) -> dict[str, Any]:
        """Wait for the end of a run."""
        self.eventually(lambda: self.state(run).get("type") in FINAL)
        return self.state(run)

    def runs(self, **like: str) -> list[dict[str, Any]]:
        """List flow runs, the oldest first; `name="points"` takes those whose name has it."""
        wanted = {"flow_runs": {name: {"like_": text} for name, text in like.items()}} if like else {}
        return list(self.ask("flow_runs/filter", {**wanted, "sort": "START_TIME_ASC"}))

    def processes(self, *words: str) -> list[int]:
        """Find the service's processes by what is on their command lines."""
        found = own_processes(self.process.pid)
        return [pid for pid, line in found if all(word in line for word in words)]


def own_processes(pid: int) -> Iterator[tuple[int, str]]:
    """Find processes that a service of this process id has started, with their command lines."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                told = (folder / "environ").read_bytes().split(b"\0")
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if any(value.startswith(f"{MARK_ENV}={pid}-".encode()) for value in told):
                yield int(folder.name), line


@contextmanager
def serving(home: Path, data: Path, environment: Mapping[str, str] | None = None) -> Iterator[Up]:
    """Run `puriflow up` with what it needs below a folder; stop it at the end as Ctrl-C does."""
    command = [
        PROGRAM, "up", "--json", "--port", str(free_port()), "--home", str(home / "home"),
        "--store", str(home / "store"), "--data", str(data),
    ]  # fmt: skip
    with (home / "errors").open("w") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env={**os.environ, **(environment or {})}
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "deployments" in line, line + (home / "errors").read_text()
        told = json.loads(line)
        client = secrets.token_hex(8)
        with httpx.Client(base_url=told["url"], timeout=60) as http:
            token = http.get("/api/csrf-token", params={"client": client}).json()["token"]
            http.headers.update({"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": client})
            yield Up(told, process, command, http)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(120)
        if process.stdout is not None:
            process.stdout.close()


LONG = 150  # epochs: some seconds of training on an idle machine


@dataclass(frozen=True)
class Trial:
    """A service on a small set of pictures, whose encoder takes long enough for something to happen meanwhile."""

    up: Up

    @property
    def store(self) -> Path:
        return Path(self.up.told["store"])

    def document(self, seed: int, epochs: int = LONG) -> dict[str, Any]:
        columns = {
            "sample_id": "id", "image": "image", "given_label": ["label"], "trusted_label": "checked", "split": "split",
        }  # fmt: skip
        return {
            "dataset": {"name": "tiny", "kind": "parquet", "path": ["tiny.parquet"], "columns": columns},
            "represent": {"epochs": epochs, "batch_size": 32, "image_size": 16, "width": 8},
            "embed": {"k": 8}, "purify": {"method": "knn"}, "retrain": {"enabled": False}, "seed": seed,
        }  # fmt: skip

    def start(self, seed: int, epochs: int = LONG) -> str:
        """Start a run of which only ingest can be there already."""
        return self.up.start("clean-dataset/quick", self.document(seed, epochs))

    def steps(self) -> list[int]:
        """List the training steps that the represent which runs has reported."""
        found = [0]
        for file in self.store.glob(".work/*/represent/progress.jsonl"):
            with suppress(OSError, ValueError):
                lines = [json.loads(line) for line in file.read_text().splitlines()]
                found += [line["step"] for line in lines if line["phase"] == "train"]
        return found

    def kept(self) -> int:
        """Say up to which step a checkpoint keeps represent's work."""
        checkpoints = self.store.glob("checkpoints/*/*/manifest.json")
        return max((int(path.parent.name.partition("-")[0]) for path in checkpoints), default=0)

    def training(self) -> int:
        """Wait until represent trains and has a checkpoint; say which step it has reached."""
        return int(self.up.eventually(lambda: self.kept() and max(self.steps())))

    def states(self, since: int = 0) -> list[str]:
        """Say how the runs of represent are."""
        return [run["state"]["name"] for run in self.up.runs(name="tiny · represent ·")[since:]]

    def flow_process(self) -> int:
        """Find the process of the flow run that waits for represent."""
        (program,) = self.up.processes("stages.represent")
        told = Path(f"/proc/{program}/environ").read_bytes().split(b"\0")
        return int(next(v for v in told if v.startswith(b"PURIFLOW_PARENT=")).partition(b"=")[2])


Serving = Callable[..., Any]


@pytest.fixture(scope="session")
def serve() -> Serving:
    """Give what runs a service."""
    return serving


@pytest.fixture(scope="session")
def on_trial(tmp_path_factory: pytest.TempPathFactory, write_tiny: Callable[..., Path]) -> Serving:
    """Give what runs a service on small pictures, with a checkpoint every other second."""

    @contextmanager
    def run(**environment: str) -> Iterator[Trial]:
        home = tmp_path_factory.mktemp("trial")
        write_tiny(home / "data")
        with serving(home, home / "data", {"PURIFLOW_CHECKPOINT_SECONDS": "2", **environment}) as up:
            yield Trial(up)

    return run
