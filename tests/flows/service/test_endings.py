"""How a flow ends: what it hears of a cancellation by itself, and what it says then."""

import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType, SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from pipeline.errors import ConfigError

pytestmark = pytest.mark.slow  # Prefect's import takes seconds


class Server:
    """A server that answers with one state after the other, and stays at the last one; None: it is away."""

    def __init__(self, *states: str | None) -> None:
        self.states, self.asked = list(states), 0

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing open."""

    def read_flow_run(self, _: Any) -> SimpleNamespace:
        import httpx
        from prefect.client.schemas.objects import StateType

        state = self.states[min(self.asked, len(self.states) - 1)]
        self.asked += 1
        if state is None:
            raise httpx.ConnectError("nobody is there")
        return SimpleNamespace(state=SimpleNamespace(type=StateType[state]))


@pytest.fixture(autouse=True)
def terminated() -> Iterator[None]:
    """Handle SIGTERM as Prefect does."""
    from prefect.exceptions import TerminationSignal

    def handle(number: int, _: FrameType | None) -> None:
        raise TerminationSignal(signal=number)

    before = signal.signal(signal.SIGTERM, handle)
    yield
    signal.signal(signal.SIGTERM, before)


def work_for(server: Server, monkeypatch: pytest.MonkeyPatch, work: Any) -> Any:
    from flows.service import cancelling, endings

    monkeypatch.setattr(cancelling, "get_client", lambda sync_client: server)
    monkeypatch.setattr(cancelling, "this_run", SimpleNamespace(id=str(uuid4())))
    monkeypatch.setattr(cancelling, "ASK_SECONDS", 0.01)
    return endings.ended(work)


def forever() -> Any:
    time.sleep(30)
    pytest.fail("it was not stopped")


def test_a_run_that_nobody_tells_of_its_cancellation_ends_as_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server("RUNNING", None, "CANCELLING")
    state = work_for(server, monkeypatch, forever)
    assert state.type.name == "CANCELLED"
    assert server.asked == 6  # twice something else, then four times the same


def test_prefect_has_time_to_tell_it_first(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.exceptions import TerminationSignal

    def told_by_prefect() -> Any:
        signal.raise_signal(signal.SIGTERM)

    with pytest.raises(TerminationSignal):
        work_for(Server("CANCELLING"), monkeypatch, told_by_prefect)


def test_what_is_not_being_cancelled_works_on(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server("CANCELLING", None, "CANCELLING", "CANCELLING", "CANCELLING", "RUNNING")

    def work() -> str:
        while server.asked < 20:
            time.sleep(0.01)
        return "done"

    assert work_for(server, monkeypatch, work) == "done"


def test_nobody_listens_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> Any:
        raise ConfigError("this is wrong.", "Do it right.")

    before = threading.active_count()
    monkeypatch.setattr("flows.service.endings.get_run_logger", lambda: SimpleNamespace(error=lambda *_: None))
    assert work_for(Server("RUNNING"), monkeypatch, refused).type.name == "FAILED"
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before
