"""The service as a team uses it: one server, its workers, a run from the form's parameters, the same again, the end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows.service.processes import MARK_ENV
from pipeline.labels import read_labels
from pipeline.store import open_store
from pipeline.store.runs import newest_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

PATIENCE = 600.0
PROGRAM = [str(Path(sys.executable).with_name("puriflow"))]


@dataclass(frozen=True)
class Up:
    """A service that runs."""

    told: dict[str, Any]
    process: "subprocess.Popen[str]"
    command: list[str]

    def ask(self, code: str) -> Any:
        """Ask the server in another process: Prefect reads its settings once."""
        prelude = "import json\nfrom prefect.client.orchestration import get_client\n"
        script = f"{prelude}with get_client(sync_client=True) as c:\n    print(json.dumps({code}, default=str))"
        surroundings = {**os.environ, "PREFECT_API_URL": self.told["api"]}
        command = [sys.executable, "-P", "-c", script]
        done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def start(self, deployment: str, parameters: dict[str, Any]) -> str:
        """Start a run as the form does."""
        found = f"c.read_deployment_by_name({deployment!r}).id"
        return str(self.ask(f"c.create_flow_run_from_deployment({found}, parameters={parameters!r}).id"))

    def end_of(self, run: str) -> dict[str, Any]:
        """Wait for the end of a run."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            state = self.ask(f"c.read_flow_run({run!r}).state.model_dump(include={{'type', 'name', 'message'}})")
            if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
                return dict(state)
            time.sleep(2)
        raise AssertionError(f"run {run} did not end")

    def runs(self) -> list[dict[str, str]]:
        """List all flow runs."""
        return list(self.ask("[{'name': r.name, 'state': r.state.name} for r in c.read_flow_runs()]"))


@pytest.fixture(scope="module")
def up(features: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path_factory.mktemp("service")
    command = [
        *PROGRAM, "up", "--json", "--port", str(port), "--home", str(home / "home"), "--store", str(home / "store"),
        "--data", str(features.parent),
    ]  # fmt: skip
    with (home / "errors").open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert "deployments" in line, line + (home / "errors").read_text()
    yield Up(json.loads(line), process, command)
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        process.wait(120)
    process.stdout.close()


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    dataset = {"name": "points", "kind": "features", "table": ["rows.parquet"], "features": ["features.npy"]}
    return {"dataset": dataset, "retrain": {"enabled": False}}


def test_a_run_from_the_form_publishes_labels_and_the_same_again_is_cached(up: Up, document: dict[str, Any]) -> None:
    first = up.end_of(up.start("clean-dataset/quick", document))
    assert (first["type"], first["name"]) == ("COMPLETED", "Completed"), first
    table = read_labels(Path(up.told["store"], "published", "points", "labels.parquet"))
    assert table.num_rows == 60
    children = [run for run in up.runs() if run["name"].startswith("points · ") and run["name"].count("·") == 2]
    assert len(children) == 4
    assert {child["state"] for child in children} == {"Completed"}
    kinds = up.ask("[[a.key, a.type] for a in c.read_artifacts()]")
    assert ["points-summary", "markdown"] in kinds
    assert ["points-purify-progress", "markdown"] in kinds
    assert "image" in {kind for _, kind in kinds}

    again = up.end_of(up.start("clean-dataset/quick", document))
    assert (again["type"], again["name"]) == ("COMPLETED", "Cached"), again
    assert len(up.runs()) == len(children) + 2  # no stage was started for it
    last = newest_run(open_store(up.told["store"]), "points", "completed")
    assert last is not None
    alone = up.end_of(up.start("purify/purify", {"run": last.id}))
    assert (alone["type"], alone["name"]) == ("COMPLETED", "Cached"), alone


def test_what_the_form_cannot_see_is_refused_before_any_stage(up: Up, document: dict[str, Any]) -> None:
    outside = {**document, "dataset": {**document["dataset"], "table": ["/etc/passwd"]}}
    ended = up.end_of(up.start("clean-dataset/quick", outside))
    assert ended["type"] == "FAILED"
    assert "is outside the folders that this service may read" in ended["message"]
    assert "Name a file below them" in ended["message"]


def test_a_second_up_finds_the_first(up: Up) -> None:
    second = subprocess.run(up.command, capture_output=True, text=True, check=False, timeout=120)
    assert second.returncode == 0, second.stderr
    told = json.loads(second.stdout)
    assert (told["url"], told["first"]) == (up.told["url"], False)


def test_ctrl_c_stops_all_that_was_started(up: Up) -> None:
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(120) == 0
    assert not list(own_processes(up.process.pid))


def own_processes(pid: int) -> Iterator[int]:
    """Find processes that a service of this process id has started."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                told = (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if any(value.startswith(f"{MARK_ENV}={pid}-".encode()) for value in told):
                yield int(folder.name)
