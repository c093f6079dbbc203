"""Two machines learn as one by torchrun: here two network namespaces with a cable between them and one store."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pipeline.artifacts import Artifact, Ref
from pipeline.keys import read_json_file
from pipeline.progress import read_progress
from pipeline.requests import ERROR_FILE, Resources, StageRequest
from pipeline.store import FileStore
from stages.represent.config import RepresentConfig

PROGRAM = Path(__file__).with_name("shared_steps.py")
CONFIG = RepresentConfig.model_validate({
    "width": 8, "image_size": 8, "epochs": 10, "batch_size": 32, "precision": "full",
    "simclr": {"hidden_dim": 16, "projection_dim": 8},
})  # fmt: skip
ADDRESSES = ("10.77.0.1", "10.77.0.2")
CABLE = "cable"
PATIENCE = 240.0  # on a busy machine
TOGETHER = [
    "--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", f"--rdzv-endpoint={ADDRESSES[0]}:29500", "--rdzv-id=7",
]  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1000),
    pytest.mark.skipif("PURIFLOW_TRIALS" not in os.environ, reason="takes minutes: PURIFLOW_TRIALS=all"),
]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def machines() -> Iterator[tuple[str, str]]:
    """Make two hosts that reach each other and nothing else."""
    first, second = (f"puriflow-{os.getpid()}-{number}" for number in (1, 2))
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("network namespaces need root and iproute2")
    if subprocess.run(["ip", "netns", "add", first], capture_output=True).returncode:
        pytest.skip("this kernel or sandbox allows no network namespaces")
    try:
        ip("netns", "add", second)
        ip("-n", first, "link", "add", CABLE, "type", "veth", "peer", "name", CABLE, "netns", second)
        for host, address in zip((first, second), ADDRESSES, strict=True):
            names = Path("/etc/netns", host)  # what stands there takes the place of the files of /etc
            names.mkdir(parents=True)
            (names / "hosts").write_text("127.0.0.1 localhost\n10.77.0.1 one\n10.77.0.2 two\n")
            (names / "nsswitch.conf").write_text("hosts: files\n")  # no name server, so nobody waits for one
            ip("-n", host, "addr", "add", f"{address}/24", "dev", CABLE)
            for link in ("lo", CABLE):
                ip("-n", host, "link", "set", link, "up")
        yield first, second
    finally:
        for host in (first, second):
            subprocess.run(["ip", "netns", "del", host], capture_output=True)
            shutil.rmtree(Path("/etc/netns", host), ignore_errors=True)


@pytest.fixture
def request_of(
    make_images: Callable[[Sequence[np.ndarray]], Artifact], store: FileStore, tmp_path: Path
) -> Callable[[str, int], Path]:
    random = np.random.default_rng(0)
    images = make_images([random.integers(0, 255, (8, 8, 3)).astype(np.uint8) for _ in range(64)])

    def write(key: str, workers: int) -> Path:
        request = StageRequest(
            stage="represent", kind="encoders", key=key * 32, config=CONFIG.model_dump(mode="json"), store=store.url,
            inputs={"images": images.ref}, work=str(tmp_path / f"work-{key}"),
            resources=Resources(device="cpu", workers=workers),
        )  # fmt: skip
        return request.save(request.work_folder / "request.json")

    return write


@contextmanager
def launched(commands: Sequence[Sequence[str]], **told: str) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Start launchers; whatever becomes of the test, none of them or of their processes is left behind."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    started = [subprocess.Popen(command, env={**os.environ, **told}, **quiet) for command in commands]
    try:
        yield started
    finally:
        for launcher in started:
            launcher.kill()  # the stages see their launcher die, and end
            launcher.wait()


def represent(request: Path) -> list[str]:
    return ["-m", "stages.represent", str(request)]


def torchrun(program: Sequence[str], *how: str) -> list[str]:
    return [sys.executable, "-P", "-m", "torch.distributed.run", *how, *program]


def across(machines: Sequence[str], program: Sequence[str]) -> AbstractContextManager[list["subprocess.Popen[bytes]"]]:
    """Start on both; their names lead to no address of theirs, so each is told its own and who is the host."""
    commands = []
    for host, address in zip(machines, ADDRESSES, strict=True):
        own = [f"--local-addr={address}", f"--rdzv-conf=is_host={int(address == ADDRESSES[0])}"]
        commands.append(["ip", "netns", "exec", host, *torchrun(program, *TOGETHER, *own)])
    return launched(commands, PYTHONSAFEPATH="1", GLOO_SOCKET_IFNAME=CABLE)


def wait_for_training(work: Path, launchers: Sequence["subprocess.Popen[bytes]"]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not any(line.phase == "train" for line in read_progress(work)[0]):
        assert all(launcher.poll() is None for launcher in launchers), read_json_file(work / ERROR_FILE)
        assert time.monotonic() < deadline, "no training began"
        time.sleep(0.05)


def test_two_machines_stop_together_go_on_and_learn_what_two_processes_learn(
    machines: tuple[str, str], request_of: Callable[[str, int], Path], store: FileStore
) -> None:
    request = request_of("a", 1)
    with across(machines, represent(request)) as launchers:
        wait_for_training(request.parent, launchers)
        launchers[1].send_signal(signal.SIGTERM)  # only the second one hears of it
        for launcher in launchers:
            launcher.wait(PATIENCE)
    told = read_json_file(request.parent / ERROR_FILE)
    assert told is not None
    assert told["message"] == "stopped; a checkpoint is written."
    assert len(store.children(f"checkpoints/{'a' * 32}")) == 1

    with across(machines, represent(request)) as launchers:
        assert [launcher.wait(PATIENCE) for launcher in launchers] == [0, 0]
    alone = torchrun(represent(request_of("b", 2)), "--standalone", "--nproc-per-node=2")
    with launched([alone], PYTHONSAFEPATH="1") as launchers:
        assert launchers[0].wait(PATIENCE) == 0
    both, here = (store.get(Ref(kind="encoders", key=key * 32)) for key in "ab")
    assert both.manifest.files == here.manifest.files
    assert both.metrics["curve"] == here.metrics["curve"]


def test_every_method_takes_the_steps_of_two_processes_on_one_machine(
    machines: tuple[str, str], tmp_path: Path
) -> None:
    apart, here = (tmp_path / name for name in ("apart", "here"))
    for folder in (apart, here):
        folder.mkdir()
    alone = torchrun([str(PROGRAM), str(here)], "--standalone", "--nproc-per-node=2")
    for started in (across(machines, [str(PROGRAM), str(apart)]), launched([alone], PYTHONSAFEPATH="1")):
        with started as launchers:
            assert {launcher.wait(PATIENCE) for launcher in launchers} == {0}
    for losses in sorted(here.glob("*-of-2.json")):
        method = losses.name.removesuffix("-of-2.json")
        assert json.loads((apart / losses.name).read_text()) == pytest.approx(json.loads(losses.read_text()), rel=1e-6)
        first, second, local = (
            load_file(folder / f"{method}-{rank}-of-2.safetensors")
            for folder, rank in ((apart, 0), (apart, 1), (here, 0))
        )
        own = ".running_" if method == "moco" else "none"  # its teacher's batch norm looks at its own images
        assert all(torch.equal(t, second[name]) for name, t in first.items() if own not in name), method
        assert all(torch.allclose(t, local[name], rtol=1e-5, atol=1e-6) for name, t in first.items()), method
    assert len(list(here.glob("*.json"))) == 7
