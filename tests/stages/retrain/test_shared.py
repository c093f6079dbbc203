"""Two processes learn what one learns from the same batches, stop together, and go on."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.catalogue import STAGES
from flows.child import Children
from pipeline.artifacts import Artifact, Ref
from pipeline.errors import ConfigError, InterruptedRunError
from pipeline.models import open_model
from pipeline.progress import ProgressLine
from pipeline.requests import Resources, StageRequest
from pipeline.store import FileStore
from stages.retrain.config import LOOKING_AHEAD, RetrainConfig

QUICK: dict[str, Any] = {
    "epochs": 6, "learning_rate": 0.02, "batch_size": 16, "precision": "full", "shift": 0.0, "flip": False,
}  # fmt: skip
Learn = Callable[..., Artifact]


def test_methods_that_look_ahead_run_as_one_process() -> None:
    program = STAGES["retrain"]
    assert {program.processes(method, 4) for method in LOOKING_AHEAD} == {1}
    assert program.processes("elr", 4) == 4
    assert STAGES["purify"].processes("fusion", 4) == 1


@pytest.fixture
def learn(pictures_toy: Any, store: FileStore, tmp_path: Path) -> Learn:
    def run(method: str, processes: int, key: str, stop_at: float = 0, **more: Any) -> Artifact:
        config, children = RetrainConfig(method=method, **QUICK | more), Children()
        request = StageRequest(
            stage="retrain", kind="models", key=key * 32, config=config.model_dump(mode="json"), store=store.url,
            inputs=dict(pictures_toy.inputs), work=str(tmp_path / f"work-{key}"),
            resources=Resources(device="cpu", workers=processes, processes=processes),
        )  # fmt: skip

        def watch(line: ProgressLine) -> None:
            if stop_at and line.phase == "train" and line.step >= stop_at and not children._signal:
                children.ask_to_stop()

        children.run(request, watch)
        return store.get(Ref(kind="models", key=key * 32))

    return run


@pytest.mark.slow
def test_two_processes_learn_the_model_of_one(learn: Learn) -> None:
    """The epoch's last, smaller batch is dropped by two, so the epoch is made of whole batches."""
    options = {"batch_size": 40, "learning_rate": 0.003, "epochs": 2}  # one step an epoch
    one, two = (learn("cross_entropy", processes, key, **options) for processes, key in ((1, "a"), (2, "b")))
    assert two.metrics["curve"][0]["loss"] == pytest.approx(one.metrics["curve"][0]["loss"], abs=1e-5)
    weights = [open_model(made).weights() for made in (one, two)]
    for name, tensor in weights[0].items():
        np.testing.assert_allclose(weights[1][name], tensor, atol=2e-4, err_msg=name)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_shared_training_that_is_stopped_ends_like_an_unbroken_one(learn: Learn) -> None:
    """With memories of rows that both processes must know."""
    whole = learn("elr", 2, "a", epochs=60)
    with pytest.raises(InterruptedRunError, match="a checkpoint is written"):
        learn("elr", 2, "b", stop_at=32, epochs=60)
    again = learn("elr", 2, "b", epochs=60)
    assert again.metrics["curve"] == whole.metrics["curve"]
    assert again.path("model.safetensors").read_bytes() == whole.path("model.safetensors").read_bytes()


@pytest.mark.slow
def test_what_process_0_sorts_between_epochs_the_others_learn_by(learn: Learn) -> None:
    losses = [entry["loss"] for entry in learn("divide_mix", 2, "a", epochs=10).metrics["curve"]]
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_a_launcher_that_does_not_know_better_is_told(learn: Learn, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"retrain\.method mlc runs as one process, not 2"):
        learn("mlc", 2, "a")
    with pytest.raises(ConfigError, match="a step has 3 rows for 2 processes; each needs 2"):
        learn("elr", 2, "b", batch_size=3)
    error = json.loads((tmp_path / "work-b" / "error.json").read_text(encoding="utf-8"))
    assert error["code"] == "config"
    assert os.environ.get("RANK") is None
