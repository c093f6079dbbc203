"""compose.yaml as a whole: `up`, a run through the proxy with TLS, its artifacts on S3, `down`.

With Docker's own compose, or with the older one of Python; public images that are not on this machine are replaced by
substitutes of Debian's packages.
"""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows.demo import write_demo

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
NAME = "puriflow-test"
PUBLIC = {"database": "postgres:17", "proxy": "caddy:2", "objects": "chrislusf/seaweedfs:4.47"}
STORE = "s3://puriflow/store"
AUTH = "team:not-a-secret"
WITH_HEALTH = ("database", "server", "flows", "cpu", "gpu")
STAGES = ["digits-demo Completed"] * 5


@dataclass
class Stack:
    """A copy of docker/ with names and ports of its own, so that nobody else's stack on this engine is touched."""

    engine: Any
    folder: Path
    compose: tuple[str, ...]
    port: int
    tls: int

    def __call__(self, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        command = [*self.compose, "-p", NAME, "--profile", "s3", "--profile", "tls", *words]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False, timeout=900)
        assert not check or done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
        return done

    def health(self) -> dict[str, str]:
        """Say how each container is: healthy, running, exited 0, …"""
        told = '{{.Label "com.docker.compose.service"}}\t{{.Status}}'
        lines = self.engine(
            "ps", "--all", f"--filter=label=com.docker.compose.project={NAME}", f"--format={told}"
        ).stdout
        return dict(line.split("\t") for line in lines.splitlines())


def compose_command(engine: Any) -> tuple[str, ...]:
    if engine("compose", "version", check=False).returncode == 0:
        return ("docker", "compose")
    if shutil.which("docker-compose"):
        return ("docker-compose",)
    pytest.skip("there is no compose")


def image_of(engine: Any, service: str) -> str:
    """Name the public image where it is on this machine, else build its substitute."""
    if engine("image", "inspect", PUBLIC[service], check=False).returncode == 0:
        return PUBLIC[service]
    name = f"{NAME}-{service}"
    folder = str(Path(__file__).with_name("substitutes"))
    engine("build", "--network=host", f"--target={service}", f"--tag={name}", folder)
    return name


@pytest.fixture(scope="module")
def stack(
    engine: Any, images: Any, free_port: Callable[[], int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    if not images.real:
        pytest.skip("the real stage image was not built (`make images`)")
    folder = tmp_path_factory.mktemp("compose") / "docker"
    made = Stack(engine, folder, compose_command(engine), free_port(), free_port())
    shutil.copytree(ROOT / "docker", made.folder)
    write_demo(made.folder / "data")
    found = engine("context", "inspect", "--format={{.Endpoints.docker.Host}}", check=False).stdout.strip()
    socket = Path(found.removeprefix("unix://"))
    text = (made.folder / "compose.yaml").read_text(encoding="utf-8")
    replaced = {
        "name: puriflow\n": "",  # the older compose knows no such line
        "{name: puriflow}": f"{{name: {NAME}}}",
        "--network=puriflow\n": f"--network={NAME}\n",
        "puriflow-store": f"{NAME}-store",
        "puriflow-credentials": f"{NAME}-credentials",
        "127.0.0.1:4200:4200": f"127.0.0.1:{made.port}:4200",
        '["80:80", "443:443"]': f'["127.0.0.1:{made.tls}:443"]',
        "/var/run/docker.sock:": f"{socket}:",
        **{f"image: {public}\n": f"image: {image_of(engine, service)}\n" for service, public in PUBLIC.items()},
    }
    for old, new in replaced.items():
        assert old in text, old
        text = text.replace(old, new)
    (made.folder / "compose.yaml").write_text(text, encoding="utf-8")
    settings = {
        "PURIFLOW_AUTH": AUTH, "POSTGRES_PASSWORD": "not-a-secret", "PURIFLOW_DATA": made.folder / "data",
        "DOCKER_GID": socket.stat().st_gid, "PURIFLOW_GPUS": "none", "PURIFLOW_MEMORY": "4g", "PURIFLOW_STORE": STORE,
        "PURIFLOW_URL": f"https://localhost:{made.tls}",
    }  # fmt: skip
    (made.folder / ".env").write_text("".join(f"{key}={value}\n" for key, value in settings.items()), encoding="utf-8")
    try:
        yield made
    finally:
        for one in engine("ps", "--all", "--quiet", f"--filter=network={NAME}").stdout.split():
            engine("rm", "--force", "--volumes", one, check=False)  # runs are not compose's
        made("down", "--volumes", check=False)


def test_up_gives_a_working_service_whose_runs_write_to_the_object_store(
    stack: Stack, document: dict[str, Any], reach: Any
) -> None:
    stack("up", "-d")
    deadline = time.monotonic() + 300
    while {name for name, how in stack.health().items() if "(healthy)" in how} < {*WITH_HEALTH}:
        assert time.monotonic() < deadline, stack.health()
        time.sleep(1)
    assert {stack.health()[name][:10] for name in ("deploy", "keys", "bucket")} == {"Exited (0)"}

    certificate = stack.folder / "root.crt"
    certificate.write_text(stack("exec", "-T", "proxy", "cat", "/data/caddy/pki/authorities/local/root.crt").stdout)
    address = f"https://localhost:{stack.tls}/api"
    service = reach(
        PREFECT_API_URL=address, PREFECT_API_AUTH_STRING=AUTH, PREFECT_API_SSL_CERT_FILE=str(certificate),
        PREFECT_HOME=str(stack.folder / "prefect"),
    )  # fmt: skip
    end = service.end_of(service.start("clean-dataset/quick", document))
    assert (end["type"], end["name"]) == ("COMPLETED", "Completed"), end
    again = service.end_of(service.start("clean-dataset/quick", document))
    assert (again["type"], again["name"]) == ("COMPLETED", "Cached"), again
    shown = stack("run", "--rm", "-T", "bucket", "puriflow", "labels", "show", f"{STORE}/digits-demo").stdout
    assert "1,797" in shown

    keys = stack("run", "--rm", "-T", "bucket", "cat", "/credentials/credentials").stdout
    secret = keys.split("aws_secret_access_key = ")[1].strip()
    assert secret not in str(service.ask("c.read_work_pool('puriflow-gpu').base_job_template"))
    stack("down")
    stack("up", "-d")  # what was there is there again
    assert stack("run", "--rm", "-T", "bucket", "cat", "/credentials/credentials").stdout == keys
    assert sorted(service.states()) == sorted(["digits-demo Completed", "digits-demo Cached", *STAGES])
