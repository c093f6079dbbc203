"""The trials that take minutes; docs/service.md has what came of them.

`PURIFLOW_TRIALS=all make test MARKS=slow ARGS="-s tests/flows/service/test_trials.py"`: a quarter of an hour.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pipeline.store import open_store
from pipeline.store.published import versions

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.skipif("PURIFLOW_TRIALS" not in os.environ, reason="takes minutes: PURIFLOW_TRIALS=all"),
]


@pytest.fixture(scope="module")
def trial(on_trial: Callable[..., Any]) -> Iterator[Any]:
    with on_trial() as trial:
        yield trial


def test_a_cancelled_run_leaves_a_checkpoint_and_the_next_goes_on_from_it(trial: Any) -> None:
    up, run = trial.up, trial.start(3)
    reached, began = trial.training(), time.monotonic()
    up.cancel(run)
    assert up.end_of(run)["type"] == "CANCELLED"
    up.eventually(lambda: trial.states() == ["Cancelled"])
    took, kept = time.monotonic() - began, trial.kept()
    again = trial.start(3)
    up.eventually(lambda: max(trial.steps()))
    first = min(step for step in trial.steps() if step)
    assert up.end_of(again)["type"] == "COMPLETED"
    note(reached=reached, kept=kept, goes_on_at=first, seconds_to_stop=round(took, 1))
    assert reached <= kept < first


def test_a_killed_stage_program_fails_its_run_with_a_remedy_and_the_next_goes_on(trial: Any) -> None:
    up, run = trial.up, trial.start(4)
    reached = trial.training()
    os.kill(up.processes("stages.represent")[0], signal.SIGKILL)
    ended = up.end_of(run)
    assert ended["type"] == "FAILED"
    assert "Lower batch_size, or give the machine more memory; what was finished is kept." in ended["message"]
    kept = trial.kept()
    assert kept > 0
    assert up.end_of(trial.start(4))["type"] == "COMPLETED"
    note(reached=reached, kept=kept)


def test_a_killed_parent_crashes_and_its_stage_ends_and_publishes(trial: Any) -> None:
    up, before = trial.up, len(trial.states())
    run = trial.start(5)
    trial.training()
    parents = [pid for pid in up.processes("python") if works_for(pid, f"PREFECT__FLOW_RUN_ID={run}")]
    assert parents
    for pid in parents:
        os.kill(pid, signal.SIGKILL)
    assert up.end_of(run)["type"] == "CRASHED"
    up.eventually(lambda: trial.states(before) == ["Completed"])
    assert up.end_of(trial.start(5))["type"] == "COMPLETED"
    assert trial.states(before) == ["Completed"]


def test_a_run_whose_worker_and_process_are_gone_is_told_by_its_silence(trial: Any) -> None:
    up, before = trial.up, len(trial.states())
    run = trial.start(6)
    trial.training()
    up.process.send_signal(signal.SIGSTOP)  # nobody starts the worker again meanwhile
    try:
        began, flow = time.monotonic(), trial.flow_process()
        for pid in (*up.processes("worker start", "puriflow-gpu"), flow):
            os.kill(pid, signal.SIGKILL)
        up.eventually(lambda: trial.states(before)[0] == "Crashed")
        note(seconds_until_crashed=round(time.monotonic() - began))
    finally:
        up.process.send_signal(signal.SIGCONT)
    assert up.end_of(run)["type"] == "COMPLETED"
    assert trial.states(before) == ["Crashed", "Completed"]


@pytest.mark.parametrize("seconds", [30, 150])
def test_a_server_that_is_away_is_waited_for_and_buries_none_of_the_living(trial: Any, seconds: int) -> None:
    up, before = trial.up, len(trial.states())
    run = trial.start(seconds, epochs=6000)
    reached = trial.training()
    away(up, seconds)
    assert max(trial.steps()) > reached  # it worked on meanwhile
    time.sleep(90)  # when it is back it counts the silence
    assert up.state(run)["type"] == "RUNNING"
    assert trial.states(before) == ["Running"]
    began = time.monotonic()
    up.cancel(run)
    ended = up.end_of(run)
    assert ended["type"] == "CANCELLED"
    assert "go on from the last checkpoint" in ended["message"]  # it heard of it: the server's own patience says else
    up.eventually(lambda: trial.states(before) == ["Cancelled"])
    assert not up.processes("stages.represent")
    took = time.monotonic() - began
    note(seconds_away=seconds, seconds_to_cancel=round(took))
    assert took < 240


def test_a_schedule_does_only_what_is_new_and_publishes_only_news(trial: Any, write_tiny: Callable[..., Path]) -> None:
    up, store = trial.up, open_store(str(trial.store))
    write_tiny(Path(up.told["data"][0], "nights"))
    document = trial.document(9, epochs=3)
    document["dataset"] |= {"name": "nights", "path": ["nights/tiny.parquet"]}
    nightly = up.ask("deployments/name/clean-dataset/nightly")["id"]
    every = {"schedule": {"interval": 60}, "active": True, "slug": "often", "parameters": document}
    (made,) = up.ask(f"deployments/{nightly}/schedules", [every])
    try:
        up.eventually(lambda: "Cached" in nights(up))
        assert [version.n for version in versions(store, "nights")] == [1]
        write_tiny(Path(up.told["data"][0], "nights"), rows=126)
        up.eventually(lambda: len(versions(store, "nights")) == 2)
        up.eventually(lambda: nights(up).count("Cached") >= 2)
    finally:
        up.ask(f"deployments/{nightly}/schedules/{made['id']}", method="DELETE")
    assert len(versions(store, "nights")) == 2
    assert len(up.runs(name="nights · represent ·")) == 1  # the encoder serves the grown dataset too
    note(states=nights(up))


def nights(up: Any) -> list[str]:
    """List how the scheduled runs of the past are."""
    return [run["state"]["name"] for run in up.runs() if run["auto_scheduled"] and run["start_time"]]


def away(up: Any, seconds: float) -> None:
    """Kill the server, and let nobody start it again for a while."""
    up.process.send_signal(signal.SIGSTOP)
    try:
        for pid in up.processes("prefect"):
            if is_server(pid):
                os.kill(pid, signal.SIGKILL)
        time.sleep(seconds)
    finally:
        up.process.send_signal(signal.SIGCONT)


def is_server(pid: int) -> bool:
    """Tell whether a process is the server, by the mark of the service it belongs to."""
    with suppress(OSError):
        told = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return any(v.startswith(b"PURIFLOW_SERVICE=") and v.endswith(b"-server") for v in told)
    return False


def works_for(pid: int, told: str) -> bool:
    """Tell whether a process has a setting in its environment."""
    with suppress(OSError):
        return told.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return False


def note(**figures: Any) -> None:
    """Say what was seen: `pytest -s` shows it."""
    print(json.dumps(figures))
