"""Two processes learn what one learns from the same batches, stop together, and go on as two or as one."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from flows.child import Children
from pipeline.artifacts import Artifact, Ref
from pipeline.errors import ConfigError, InterruptedRunError, RankLostError
from pipeline.progress import ProgressLine
from pipeline.requests import Resources, StageRequest
from pipeline.store import FileStore
from stages.represent.config import RepresentConfig

PROGRAM = Path(__file__).with_name("shared_steps.py")
METHODS = ["simclr", "moco", "simsiam", "byol", "barlow_twins", "vicreg", "dino"]
CONFIG = RepresentConfig.model_validate({
    "width": 8, "image_size": 8, "epochs": 100, "batch_size": 32, "precision": "full",
    "simclr": {"hidden_dim": 16, "projection_dim": 8},
})  # fmt: skip
MakeImages = Callable[[Sequence[np.ndarray]], Artifact]
Learn = Callable[..., Artifact]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stepped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Take the same steps in one process and in two."""
    folder = tmp_path_factory.mktemp("steps")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for words in (["-W", "error"], launcher):
        done = subprocess.run([sys.executable, *words, PROGRAM, folder], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "deprecated" not in done.stderr
    return folder


def tensors_of(folder: Path, method: str, rank: int, world: int) -> dict[str, Tensor]:
    return load_file(folder / f"{method}-{rank}-of-{world}.safetensors")


@pytest.mark.parametrize("method", [m for m in METHODS if m != "moco"])  # its teacher sees other parts of the batch
def test_two_processes_take_the_steps_of_one(stepped: Path, method: str) -> None:
    """Losses are computed in float32, all else in float64: what differs is rounding in the seventh digit."""
    one, two = (json.loads((stepped / f"{method}-of-{n}.json").read_text()) for n in (1, 2))
    assert two == pytest.approx(one, rel=2e-6, abs=2e-7)
    whole, shared = tensors_of(stepped, method, 0, 1), tensors_of(stepped, method, 0, 2)
    assert shared.keys() == whole.keys()
    assert any(name.startswith("gradient.encoder") for name in whole)
    for name, tensor in whole.items():
        difference = float((tensor - shared[name]).abs().max())
        assert difference < 1e-5 * max(1.0, float(tensor.abs().max())), name


@pytest.mark.parametrize("method", METHODS)
def test_both_processes_hold_the_same_weights(stepped: Path, method: str) -> None:
    first, second = (tensors_of(stepped, method, rank, 2) for rank in (0, 1))
    alone = ".running_" if method == "moco" else "none"  # its teacher's batch norm looks at its own images
    assert all(torch.equal(t, second[name]) for name, t in first.items() if alone not in name)


@pytest.fixture
def learn(make_images: MakeImages, store: FileStore, tmp_path: Path) -> Learn:
    random = np.random.default_rng(0)
    images = make_images([random.integers(0, 255, (8, 8, 3)).astype(np.uint8) for _ in range(64)])

    def run(
        key: str,
        processes: int = 2,
        stop_at: float = 0,
        kill: bool = False,
        config: RepresentConfig = CONFIG,
        into: FileStore = store,
    ) -> Artifact:
        """Learn in some processes; ask for the end, or kill one of them, at some image."""
        children = Children()
        request = StageRequest(
            stage="represent", kind="encoders", key=key * 32, config=config.model_dump(mode="json"), store=into.url,
            inputs={"images": images.ref}, work=str(tmp_path / f"work-{key}"),
            resources=Resources(device="cpu", workers=processes, processes=processes),
        )  # fmt: skip

        def watch(line: ProgressLine) -> None:
            if stop_at and line.phase == "train" and line.step >= stop_at:
                if kill:
                    os.kill(workers_in(request.work_folder)[-1], signal.SIGKILL)
                elif not children._signal:
                    children.ask_to_stop()

        children.run(request, watch)
        return into.get(Ref(kind="encoders", key=key * 32))

    return run


def workers_in(folder: Path) -> list[int]:
    """List the stage programs that work in a folder, without their launcher."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
            if (process / "cwd").readlink() == folder and b"stages.represent" in words and b"distributed" not in words:
                found.append(int(process.name))
        except OSError:
            continue
    return sorted(found)


@pytest.mark.timeout(900)
def test_what_two_began_two_finish_to_the_same_bytes_and_one_on_the_same_curve(
    learn: Learn, store: FileStore, tmp_path: Path
) -> None:
    with pytest.raises(InterruptedRunError, match="a checkpoint is written") as caught:
        learn("a", stop_at=32)
    assert caught.value.exit_code == 75
    assert len(store.children(f"checkpoints/{'a' * 32}")) == 1
    assert workers_in(tmp_path / "work-a") == []
    other = FileStore(Path(shutil.copytree(store.root, tmp_path / "other")))

    resumed, whole = learn("a"), learn("b")
    assert resumed.manifest.files == whole.manifest.files
    assert resumed.metrics["curve"] == whole.metrics["curve"]
    assert sorted(p.name for p in (tmp_path / "work-b").iterdir()) == ["progress.jsonl", "request.json", "stage.log"]

    finished, alone = learn("a", processes=1, into=other), learn("b", processes=1, into=other)
    assert len(finished.metrics["curve"]) == CONFIG.epochs
    curves = [np.array(made.metrics["curve"]) for made in (finished, alone)]
    assert curves[0][:2] == pytest.approx(curves[1][:2], abs=1e-4)  # later the rounding of float32 has grown too far
    assert curves[0][-20:].mean() == pytest.approx(curves[1][-20:].mean(), abs=0.15)


def test_a_killed_process_ends_the_run_with_a_message(learn: Learn, tmp_path: Path) -> None:
    with pytest.raises(RankLostError, match="another process of this run was killed or failed"):
        learn("a", stop_at=320, kill=True)
    assert workers_in(tmp_path / "work-a") == []


def test_more_processes_than_a_batch_can_feed_are_refused(learn: Learn) -> None:
    with pytest.raises(ConfigError, match="a step has 3 images for 2 processes; each needs 2"):
        learn("a", config=CONFIG.model_copy(update={"batch_size": 3}))
