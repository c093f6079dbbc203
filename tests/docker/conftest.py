"""What container tests share: the engine, the images, puriflow in a container, docker pools as operators have them."""

import json
import os
import shutil
import signal
import site
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.demo import write_demo
from flows.service.pools import POOLS
from flows.service.server import Server, is_healthy

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
USER = "10001:10001"
RESTRICTED = [
    "--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", f"--user={USER}",
    "--shm-size=1g",
]  # fmt: skip
PATIENCE = 900.0
PREFECT = [sys.executable, "-P", "-m", "prefect"]


def docker(*words: str, check: bool = True, timeout: float = 1500) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False, timeout=timeout)
    assert not check or done.returncode == 0, f"docker {' '.join(words)}: {done.stderr}"
    return done


def commit_of(image: str) -> str:
    """Read from which commit an image was made; '' where it is not there."""
    label = '{{index .Config.Labels "org.opencontainers.image.revision"}}'
    return docker("image", "inspect", f"--format={label}", image, check=False).stdout.strip()


@dataclass(frozen=True)
class Images:
    """The image of flows and that of stages, and what the latter needs where the real one was not built."""

    flow: str
    stage: str
    volumes: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()

    @property
    def real(self) -> bool:
        return not self.volumes

    @property
    def options(self) -> list[str]:
        return [f"--volume={volume}" for volume in self.volumes] + [f"--env={one}" for one in self.environment]


Docker = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def engine() -> Docker:
    """Give the engine: `engine("ps", "-a")`."""
    if not shutil.which("docker") or docker("version", check=False).returncode:
        pytest.skip("no container engine answers")
    return docker


@pytest.fixture(scope="session")
def images(engine: Docker) -> Images:
    """Find the images that `make images` built.

    Where only the small one is there (`make images IMAGES=flow`), the packages of this environment take the place
    of the other one's: the same versions.
    """
    flow, stage = f"puriflow-flow:{VERSION}", f"puriflow-stage:{VERSION}"
    if not commit_of(flow):
        pytest.skip(f"there is no image {flow}: `make images`")
    if commit_of(stage) == commit_of(flow):
        return Images(flow, stage)
    inside = engine("run", "--rm", flow, "python", "-c", "import sys; print(*sys.version_info[:2])").stdout
    if inside.split() != [str(number) for number in sys.version_info[:2]]:
        pytest.skip(f"there is no image {stage}, and the Python of {flow} is another one than this")
    return Images(flow, flow, (f"{site.getsitepackages()[0]}:/opt/packages:ro",), ("PYTHONPATH=/opt/packages",))


@dataclass
class Place:
    """A dataset and a store, each a folder of the host."""

    images: Images
    data: Path
    store: Path
    name: str

    def words(self, *more: str) -> list[str]:
        """Begin a command that runs a stage container as restricted as can be."""
        return [
            "run", *RESTRICTED, *self.images.options, f"--volume={self.data}:{self.data}:ro",
            f"--volume={self.store}:/store", "--env=OMP_NUM_THREADS=1", f"--name={self.name}", *more, self.images.stage,
        ]  # fmt: skip

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        return docker(*self.words("--rm"), *command)

    def run_within(self, memory: str, *command: str) -> "subprocess.CompletedProcess[str]":
        limits = [f"--memory={memory}", f"--memory-swap={memory}"]
        return docker(*self.words("--rm", *limits), *command, check=False)


@pytest.fixture
def place(images: Images, tmp_path: Path) -> Iterator[Place]:
    """Give folders that the container's user may use, and remove the container whatever happened."""
    made = Place(images, tmp_path / "data", tmp_path / "store", f"puriflow-test-{os.getpid()}")
    for folder in (made.data, made.store):
        folder.mkdir()
    os.chown(made.store, *map(int, USER.split(":")))
    yield made
    docker("rm", "--force", made.name, check=False)


@dataclass(frozen=True)
class Service:
    """A server with docker workers."""

    told: dict[str, str]
    deployment: tuple[str, ...] = ()
    logs: Path = Path()
    started: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)  # the server and the workers

    def launch(self, name: str, *words: str) -> None:
        with (self.logs / f"{name}.log").open("ab") as log:
            self.started[name] = subprocess.Popen([*PREFECT, *words], env=self.told, stdout=log, stderr=log)

    def launch_worker(self, pool: str) -> None:
        self.launch(pool, "worker", "start", "--type", "docker", "--pool", pool)

    def deploy(self, *more: str, memory: str = "4g") -> None:
        """Bring the pools up to date; what runs may use counts from their next start."""
        words = [Path(sys.executable).with_name("puriflow"), "deploy", "--memory", memory, *self.deployment, *more]
        subprocess.run(words, env=self.told, check=True, capture_output=True)

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


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("pool")
    write_demo(home / "data")
    (home / "store").mkdir()
    os.chown(home / "store", 10001, 10001)
    return home


def deployment(images: Images, folder: Path) -> tuple[str, ...]:
    return (
        "--image", images.stage, "--flow-image", images.flow, "--network", "host", "--gpus", "none",
        "--volume", f"{folder}/store:/store", "--volume", f"{folder}/data:/data:ro", "--env", "PURIFLOW_STORE=/store",
        "--env", "PURIFLOW_DATA_ROOT=/data", "--env", "PURIFLOW_WORKERS=1", "--env", "PURIFLOW_CHECKPOINT_SECONDS=2",
        "--env", "OMP_NUM_THREADS=1",
        *(f"--volume={volume}" for volume in images.volumes), *(f"--env={one}" for one in images.environment),
    )  # fmt: skip


@pytest.fixture(scope="session")
def reach() -> Callable[..., Service]:
    """Reach a server that is there already: `reach(PREFECT_API_URL=…, …)`."""
    return lambda **told: Service({**os.environ, **told})


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Give what finds a port that nobody listens at."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return find


@pytest.fixture(scope="session")
def service(images, folder: Path, free_port: Callable[[], int]) -> Iterator[Service]:
    server = Server(folder / "home", port=free_port())
    told = {**os.environ, **server.environment()}
    Path(told["PREFECT_HOME"]).mkdir(parents=True)
    made = Service(told, deployment(images, folder), logs=folder)
    try:
        made.launch("server", "server", "start")
        deadline = time.monotonic() + 300
        while not is_healthy(server.api):
            assert made.started["server"].poll() is None, (folder / "server.log").read_text()
            assert time.monotonic() < deadline, (folder / "server.log").read_text()
            time.sleep(0.5)
        made.deploy()
        for pool in POOLS:
            made.launch_worker(pool.name)
        yield made
    finally:
        for process in reversed(made.started.values()):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)  # a worker started in the background of a shell does not hear itself
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(scope="session")
def document(folder: Path) -> dict[str, Any]:
    demo = yaml.safe_load((folder / "data" / "clean.yaml").read_text(encoding="utf-8"))
    demo["dataset"]["path"] = ["digits.parquet"]
    demo["dataset"]["trusted"]["path"] = ["checked.csv"]
    demo["dataset"]["columns"]["given_label"] = ["label"]
    demo["represent"]["epochs"] = 15
    return {**demo, "purify": {"method": "knn"}, "retrain": {"enabled": False}}
