import os
import random
import signal
import subprocess
import sys
import time

import pytest

from pipeline.store.verify import faults_of
from stages.shell.stop import wait_for_death

ENDED = {signal.SIGTERM: 143, signal.SIGINT: 130}


def whole(store) -> bool:
    """Tell whether everything that can be seen in the store is whole."""
    for kind in store.children(""):
        if not kind.startswith(".") and kind != "checkpoints":
            for key in store.children(kind):
                found = store.find(kind, key)
                if found is None or faults_of(found):
                    return False
    return True


def left(store) -> list[str]:
    return [name for area in (".staging", ".locks", "checkpoints") for name in store.children(area)]


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_asked_to_stop_it_checkpoints_and_the_next_run_goes_on(stage, number: signal.Signals) -> None:
    tiny, unbroken = stage(steps=60, pause=0.02), stage(folder="unbroken", steps=60)
    process = tiny.start()
    tiny.wait_for_step(5)
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 75
    assert "stopped; a checkpoint is written. Run the same command again" in err
    assert "Traceback" not in err
    assert tiny.artifact() is None
    assert tiny.store.children(".staging") == tiny.store.children(".locks") == []
    assert len(tiny.store.children(f"checkpoints/{tiny.key}")) == 1
    tiny.config["pause"] = 0
    assert tiny.run()[0] == 0
    assert unbroken.run()[0] == 0
    assert tiny.artifact().metrics["resumed_at"] >= 5
    assert tiny.files() == unbroken.files()
    assert left(tiny.store) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_without_a_checkpoint_it_ends_as_the_signal_says(stage, number: signal.Signals) -> None:
    tiny = stage(steps=1000, pause=0.02, checkpoints=False)
    process = tiny.start()
    tiny.wait_for_step(3)
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == ENDED[number]
    assert f"stopped by {number.name} before a checkpoint" in err
    assert left(tiny.store) == []


def test_waiting_for_the_lock_can_be_stopped(stage) -> None:
    tiny = stage()
    with tiny.store.lock("tiny", tiny.key):
        process = tiny.start()
        time.sleep(1.5)
        assert process.poll() is None
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode in (143, -signal.SIGTERM)


def test_it_checkpoints_and_ends_when_its_parent_dies(stage) -> None:
    tiny = stage(steps=2000, pause=0.01)
    parent = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    process = tiny.start(PURIFLOW_PARENT=str(parent.pid))
    tiny.wait_for_step(3)
    time.sleep(0.3)
    assert process.poll() is None  # a launcher may stand between: what counts is that the parent lives
    parent.kill()
    parent.wait()
    process.communicate(timeout=20)
    assert process.returncode == 75
    assert len(tiny.store.children(f"checkpoints/{tiny.key}")) == 1


def test_a_parent_that_is_dead_already_is_noticed() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    wait_for_death(gone.pid)


def test_where_the_kernel_offers_no_watch_it_is_asked_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> int:
        raise OSError(1, "not permitted")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    monkeypatch.setattr("stages.shell.stop.POLL_SECONDS", 0.01)
    asked = []
    monkeypatch.setattr("stages.shell.stop.is_alive", lambda _: (asked.append(1), len(asked) < 4)[1])
    wait_for_death(1)
    assert len(asked) == 4


def test_checkpoints_come_by_the_clock_and_two_are_kept(stage) -> None:
    tiny = stage(checkpoint_seconds=0.05, steps=1000, pause=0.01)
    process = tiny.start()
    tiny.wait_for_step(60)
    process.kill()
    process.communicate()
    assert len(tiny.store.children(f"checkpoints/{tiny.key}")) in (2, 3)  # 3: killed before the oldest went
    tiny.config["steps"] = 80
    tiny.config["pause"] = 0
    assert tiny.run()[0] == 0
    assert tiny.artifact().metrics["resumed_at"] > 30


def test_two_at_once_compute_once_and_both_succeed(stage) -> None:
    tiny = stage(steps=30, pause=0.02)
    processes = [tiny.start(), tiny.start()]
    for process in processes:
        process.communicate(timeout=60)
    assert [p.returncode for p in processes] == [0, 0]
    worked = [f for f in tiny.folder.rglob("progress.jsonl") if f.stat().st_size]
    assert len(worked) == 1
    assert left(tiny.store) == []


def test_killed_right_after_publishing_the_next_run_tidies_up(stage) -> None:
    tiny = stage()
    assert tiny.run()[0] == 0
    for area, name in ((".staging", "tiny-x"), (".locks", f"tiny-{tiny.key}")):
        (tiny.store.root / area / f"{name}.lock").touch()
    tiny.store.replace(f"checkpoints/{tiny.key}/000000000001-x/state.json", b"{}")
    assert tiny.run()[0] == 0
    assert left(tiny.store) == []


@pytest.mark.slow
def test_killed_at_any_moment_the_next_run_ends_with_the_same_files(stage) -> None:
    """Kill at random moments, from the first second of the program to the publishing; look for halves all the while."""
    chance = random.Random(0)
    unbroken = stage(folder="unbroken", steps=40)
    started = time.monotonic()
    assert unbroken.run()[0] == 0
    seconds = time.monotonic() - started + 40 * 0.006
    kills = 0
    for life in range(4):
        tiny = stage(folder=f"life{life}", checkpoint_seconds=0.03, steps=40, pause=0.006)
        tiny.key = unbroken.key
        for _ in range(7):
            process = tiny.start()
            end = time.monotonic() + seconds * chance.uniform(0.2, 1.0)
            while time.monotonic() < end and process.poll() is None:
                assert whole(tiny.store)
                time.sleep(0.01)
            process.kill()
            process.communicate()
            kills += process.returncode == -signal.SIGKILL
            assert whole(tiny.store)
            if tiny.artifact() is not None:
                break
        assert tiny.run()[0] == 0
        assert tiny.files() == unbroken.files()
        assert left(tiny.store) == []
    assert kills >= 4
