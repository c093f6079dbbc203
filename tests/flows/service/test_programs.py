"""A wish to stop that comes as Prefect's exception: the stage has its time for a checkpoint, and the wish goes on."""

import signal
import sys
from pathlib import Path
from types import FrameType, SimpleNamespace

import pytest

from pipeline.requests import StageRequest

pytestmark = pytest.mark.slow  # Prefect's import takes seconds

STAGE = """
import pathlib, signal, sys, time
def stop(*_):
    time.sleep(0.5)
    pathlib.Path('kept').touch()
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
pathlib.Path('listens').touch()
time.sleep(60)
"""


def test_a_stage_that_is_asked_to_stop_keeps_its_work_and_its_flow_run_hears_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.exceptions import TerminationSignal

    from flows.service import programs

    monkeypatch.setattr("flows.child.command", lambda *_: [sys.executable, "-c", STAGE])
    said: list[str] = []
    log = SimpleNamespace(warning=lambda text, *about: said.append(text % about))
    monkeypatch.setattr(programs, "get_run_logger", lambda: log)

    def cancel(number: int, _frame: FrameType | None) -> None:  # as Prefect's handler does
        if (tmp_path / "listens").exists():
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise TerminationSignal(signal=number)

    before = signal.signal(signal.SIGALRM, cancel)
    signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
    request = StageRequest(stage="represent", kind="encoders", key="k", config={}, store="s", work=str(tmp_path))
    try:
        with pytest.raises(TerminationSignal, match=r"^$") as caught:
            programs.StagePrograms().run(request, lambda _: None)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert caught.value.signal == signal.SIGALRM
    assert (tmp_path / "kept").exists()
    assert said == ["the stage has stopped; a checkpoint is written"]
