"""What becomes of a run in docker pools when its containers are stopped or killed, or run out of memory."""

import json
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(3000)]

PATIENCE = 900.0  # on a busy machine


@dataclass
class Trial:
    """A run whose encoder learns long enough for something to happen meanwhile."""

    service: Any
    store: Path
    engine: Any
    seed: int = 1
    seen: set[Path] = field(default_factory=set)

    def eventually(self, what: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + PATIENCE
        while not (found := what()):
            assert time.monotonic() < deadline, self.states()
            time.sleep(0.5)
        return found

    def container(self, stage: bool = True) -> str:
        """Find the container of represent's run, or that of its parent."""
        words = ["ps", "--filter=label=io.prefect.flow-run-id", "--format={{.ID}} {{.Names}}"]

        def found() -> str:
            pairs = (line.split() for line in self.engine(*words).stdout.splitlines())
            return next((number for number, name in pairs if ("represent" in name) is stage), "")

        return str(self.eventually(found))

    def running(self) -> str:
        return str(self.engine("ps", "--format={{.ID}}").stdout)

    def training(self) -> int:
        """Wait until another attempt at represent trains and has a checkpoint; return the images it begins after."""
        return int(self.eventually(self.begun))

    def attempts(self) -> list[Path]:
        return list(self.store.glob(".work/*/represent/progress.jsonl"))

    def begun(self) -> float:
        for path in set(self.attempts()) - self.seen:
            with suppress(OSError, ValueError):
                lines = [json.loads(line) for line in path.read_text().splitlines()]
                steps = [line["step"] for line in lines if line["phase"] == "train"]
                if len(steps) > 3 and list(self.store.glob("checkpoints/*/*/manifest.json")):
                    self.seen.add(path)
                    return float(steps[0])
        return 0

    def states(self) -> list[str]:
        """Say how the runs of represent are, the oldest first."""
        ours = f"'represent' in r.name and r.parameters['seed'] == {self.seed}"
        runs = "c.read_flow_runs(sort='START_TIME_ASC')"
        return list(self.service.ask(f"[r.state.name for r in {runs} if {ours}]"))

    def start(self, document: dict[str, Any]) -> str:
        long = {**document, "seed": self.seed, "represent": {**document["represent"], "epochs": 120}}
        return str(self.service.start("clean-dataset/quick", long))


@pytest.fixture(params=[1])
def trial(request: pytest.FixtureRequest, service: Any, folder: Path, engine: Any) -> Trial:
    made = Trial(service, folder / "store", engine, request.param)
    made.seen.update(made.attempts())
    return made


def test_a_stage_without_enough_memory_ends_its_run_with_a_message(service: Any, document: dict[str, Any]) -> None:
    service.deploy(memory="500m")
    end = service.end_of(service.start("clean-dataset/quick", {**document, "seed": 2}))
    service.deploy()
    assert end["type"] == "FAILED", end
    assert "represent was killed by the system, probably because memory ran out" in end["message"]


def test_a_run_goes_on_after_every_loss(trial: Trial, document: dict[str, Any]) -> None:
    parent = trial.start(document)
    first = trial.training()
    trial.engine("stop", "--time=60", trial.container())

    second = trial.training()
    assert second > first  # from the checkpoint
    assert trial.states() == ["Running"]  # the same run, in another container
    trial.engine("kill", trial.container())

    third = trial.training()
    assert third > second
    assert trial.states() == ["Crashed", "Running"]  # another run
    recipe = trial.container(stage=False)
    name = trial.engine("inspect", "--format={{.Name}}", recipe).stdout.strip().removeprefix("/")
    trial.engine("kill", recipe)
    end = trial.service.end_of(parent)
    log = (trial.service.logs / "puriflow-flows.log").read_text(encoding="utf-8")
    seen = re.search(f"'{name}' has status '(exited|removing)'", log)  # else the engine was faster than the worker
    assert (end["type"], ("status code 137" if seen else "without a word") in end["message"]) == ("CRASHED", True), end
    assert trial.states() == ["Crashed", "Running"]  # its stage works on

    again = trial.service.end_of(trial.start(document))
    assert again["type"] == "COMPLETED", again
    assert trial.states() == ["Crashed", "Completed"]  # the new parent waited for the stage of the old one


@pytest.mark.parametrize("trial", [3], indirect=True)
def test_a_stopped_recipe_and_a_killed_worker_cost_nothing(trial: Trial, document: dict[str, Any]) -> None:
    parent = trial.start(document)
    trial.training()
    stage, recipe = trial.container(), trial.container(stage=False)
    trial.engine("stop", recipe)  # as a host does that goes down: ten seconds
    assert trial.eventually(lambda: recipe not in trial.running())
    other = trial.container(stage=False)
    assert other != recipe  # the same run, in another container

    worker = trial.service.started["puriflow-gpu"]
    worker.kill()
    worker.wait()
    assert stage in trial.running()
    trial.service.launch_worker("puriflow-gpu")
    end = trial.service.end_of(parent)
    assert end["type"] == "COMPLETED", end
    assert trial.states() == ["Completed"]  # represent ran once
