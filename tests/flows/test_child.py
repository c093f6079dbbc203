import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from flows import child
from flows.child import Children
from flows.child import command as child_command
from pipeline.errors import (
    ConfigError,
    EndedWithoutCheckpointError,
    InterruptedRunError,
    RankLostError,
    StageFailedError,
    TerminatedError,
)
from pipeline.progress import ProgressLine
from pipeline.requests import StageRequest

PROGRAMS = {
    "good": "from pipeline.progress import ProgressWriter; import pathlib; "
    "ProgressWriter(pathlib.Path('.')).report('fit', 3, 3)",
    "polite": "import json; open('error.json','w').write("
    "json.dumps({'code':'config','message':'no','remedy':'yes','exit_code':2})); raise SystemExit(2)",
    "lost": "import json; open('error.json','w').write("
    "json.dumps({'code':'rank_lost','message':'gone','remedy':'again','exit_code':1})); raise SystemExit(1)",
    "crash": "raise RuntimeError('boom')",
    "early": "import signal, time; open('ready','w').close()\ntry: time.sleep(60)\n"
    "except KeyboardInterrupt: raise SystemExit(1)",
    "oom": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "patient": "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(75)); "
    "open('ready','w').close(); time.sleep(60)",
    "deaf": "import signal, time; "
    "[signal.signal(s, signal.SIG_IGN) for s in (signal.SIGTERM, signal.SIGINT)]; open('ready','w').close(); "
    "time.sleep(60)",
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(child, "command", lambda stage, *_: [sys.executable, "-c", PROGRAMS[stage]])
    children = Children()

    def start(stage: str) -> list[ProgressLine]:
        lines: list[ProgressLine] = []
        request = StageRequest(stage=stage, kind="k", key="1", config={}, store="s", work=str(tmp_path))
        with children.listening():
            children.run(request, lines.append)
        return lines

    start.children = children  # type: ignore[attr-defined]
    return start


def when_ready(folder: Path, act) -> threading.Thread:
    def wait() -> None:
        while not (folder / "ready").exists():
            time.sleep(0.02)
        act()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_progress_reaches_the_observer(run) -> None:
    assert [line.step for line in run("good")] == [3]


def test_the_childs_own_error_is_raised_again(run) -> None:
    with pytest.raises(ConfigError, match="no yes"):
        run("polite")


def test_a_crash_shows_the_last_lines_of_the_log(run) -> None:
    with pytest.raises(StageFailedError, match="boom"):
        run("crash")


def test_a_killed_stage_is_told_as_lack_of_memory(run) -> None:
    with pytest.raises(StageFailedError, match="killed by the system"):
        run("oom")


def test_a_signal_to_the_parent_reaches_the_child_once(run, tmp_path: Path) -> None:
    when_ready(tmp_path, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(InterruptedRunError, match="checkpoint"):
        run("patient")
    with pytest.raises(EndedWithoutCheckpointError, match="between two stages"):
        run("good")  # the wish to stop is remembered


def test_asked_to_stop_before_it_could_listen_is_no_fault(run, tmp_path: Path) -> None:
    """Python itself ends with a traceback and 1 where Ctrl-C meets its first imports."""
    when_ready(tmp_path, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(EndedWithoutCheckpointError, match="ended at once"):
        run("early")


def test_the_exit_code_is_that_of_the_signal(run, tmp_path: Path) -> None:
    when_ready(tmp_path, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(TerminatedError, match="ended at once") as caught:
        run("early")
    assert caught.value.exit_code == 143


def test_a_second_signal_ends_a_deaf_child_at_once(run, tmp_path: Path) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    started = time.monotonic()
    when_ready(tmp_path, twice)
    with pytest.raises(EndedWithoutCheckpointError, match="ended at once"):
        run("deaf")
    assert time.monotonic() - started < 20


def test_several_processes_are_started_by_torchrun_and_one_as_it_is() -> None:
    path = Path("/w/request.json")
    one = child_command("represent", path)
    assert one == [sys.executable, "-P", "-m", "stages.represent", "/w/request.json"]
    two = child_command("represent", path, 2)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    assert two == [sys.executable, "-P", *launcher, *one[3:]]
    assert child.environment()["PYTHONSAFEPATH"] == "1"


def test_threads_that_wait_sleep_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert child.environment()["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert child.environment()["OMP_WAIT_POLICY"] == "ACTIVE"


def test_a_lost_process_is_told_as_such(run) -> None:
    with pytest.raises(RankLostError, match="gone again"):
        run("lost")
