"""Docker pools end to end: server and workers on this machine, the recipe and every stage in their own containers."""

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
import yaml

from flows.demo import write_demo
from flows.service.pools import POOLS
from flows.service.server import Server, is_healthy
from pipeline.labels import read_labels

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(1800)]

PATIENCE = 900.0
PYTHON = [sys.executable, "-P", "-m"]


@dataclass(frozen=True)
class Service:
    """A server with docker workers."""

    told: dict[str, str]

    def ask(self, code: str) -> Any:
        """Ask the server in another process: Prefect reads its settings once."""
        prelude = "import json\nfrom prefect.client.orchestration import get_client\nfrom prefect.states import *\n"
        script = f"{prelude}with get_client(sync_client=True) as c:\n    print(json.dumps({code}, default=str))"
        done = subprocess.run([sys.executable, "-P", "-c", script], env=self.told, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def start(self, deployment: str, parameters: dict[str, Any]) -> str:
        found = f"c.read_deployment_by_name({deployment!r}).id"
        return str(self.ask(f"c.create_flow_run_from_deployment({found}, parameters={parameters!r}).id"))

    def cancel(self, run: str) -> None:
        self.ask(f"c.set_flow_run_state({run!r}, Cancelling()).status")

    def end_of(self, run: str) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            state = self.ask(f"c.read_flow_run({run!r}).state.model_dump(include={{'type', 'name', 'message'}})")
            if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
                return dict(state)
            time.sleep(2)
        raise AssertionError(f"run {run} did not end")

    def states(self) -> list[str]:
        return list(self.ask("[r.name.split(' ')[0] + ' ' + r.state.name for r in c.read_flow_runs()]"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("pool")
    write_demo(home / "data")
    (home / "store").mkdir()
    os.chown(home / "store", 10001, 10001)
    return home


@pytest.fixture(scope="module")
def service(images, folder: Path) -> Iterator[Service]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        server = Server(folder / "home", port=probe.getsockname()[1])
    told = {**os.environ, **server.environment()}
    Path(told["PREFECT_HOME"]).mkdir(parents=True)
    started: list[subprocess.Popen[bytes]] = []

    def start(*words: str) -> None:
        with (folder / f"{words[-1].strip('/')}.log").open("wb") as log:
            started.append(subprocess.Popen([*PYTHON, "prefect", *words], env=told, stdout=log, stderr=log))

    try:
        start("server", "start")
        deadline = time.monotonic() + 300
        while not is_healthy(server.api):
            assert started[0].poll() is None, (folder / "start.log").read_text()
            assert time.monotonic() < deadline, (folder / "start.log").read_text()
            time.sleep(0.5)
        deploy = [
            Path(sys.executable).with_name("puriflow"), "deploy", "--image", images.stage, "--flow-image", images.flow,
            "--network", "host", "--gpus", "none", "--memory", "4g", "--volume", f"{folder}/store:/store",
            "--volume", f"{folder}/data:/data:ro", "--env", "PURIFLOW_STORE=/store", "--env", "OMP_NUM_THREADS=1",
            "--env", "PURIFLOW_DATA_ROOT=/data", "--env", "PURIFLOW_WORKERS=1",
            *(f"--volume={volume}" for volume in images.volumes), *(f"--env={one}" for one in images.environment),
        ]  # fmt: skip
        subprocess.run(deploy, env=told, check=True, capture_output=True)
        for pool in POOLS:
            start("worker", "start", "--type", "docker", "--pool", pool.name)
        yield Service(told)
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(scope="module")
def document(folder: Path) -> dict[str, Any]:
    demo = yaml.safe_load((folder / "data" / "clean.yaml").read_text(encoding="utf-8"))
    demo["dataset"]["path"] = ["digits.parquet"]
    demo["dataset"]["trusted"]["path"] = ["checked.csv"]
    demo["dataset"]["columns"]["given_label"] = ["label"]
    demo["represent"]["epochs"] = 15
    return {**demo, "purify": {"method": "knn"}, "retrain": {"enabled": False}}


def test_a_cancelled_stage_writes_a_checkpoint_and_goes_on_in_another_container(
    service: Service, folder: Path, document: dict[str, Any], engine
) -> None:
    store = folder / "store"
    first = service.start("clean-dataset/quick", document)
    deadline = time.monotonic() + PATIENCE
    while not any('"train"' in path.read_text() for path in store.glob(".work/*/represent/progress.jsonl")):
        assert time.monotonic() < deadline, service.states()
        time.sleep(1)
    service.cancel(first)
    assert service.end_of(first)["type"] == "CANCELLED"
    assert list(store.glob("checkpoints/*/*/manifest.json"))

    second = service.end_of(service.start("clean-dataset/quick", document))
    assert (second["type"], second["name"]) == ("COMPLETED", "Completed"), second
    assert read_labels(store / "published" / "digits-demo" / "labels.parquet").num_rows == 1797
    assert not list(store.glob("checkpoints/*/*"))
    assert {path.lstat().st_uid for path in store.rglob("*")} == {10001}
    again = service.end_of(service.start("clean-dataset/quick", document))
    assert (again["type"], again["name"]) == ("COMPLETED", "Cached"), again
