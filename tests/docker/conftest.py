"""What container tests share: the engine, the images, and puriflow in a container as an operator would start it."""

import os
import shutil
import site
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
USER = "10001:10001"
RESTRICTED = [
    "--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", f"--user={USER}",
    "--shm-size=1g",
]  # fmt: skip


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
    made.data.mkdir()
    made.store.mkdir()
    os.chown(made.store, *map(int, USER.split(":")))
    yield made
    docker("rm", "--force", made.name, check=False)
