"""Cancellations that nobody passes on: the process of a flow run asks for its own state as well.

Prefect's runner (3.8) hears of a cancellation at once, but stops listening for good when the server was away for half a
minute ("Flow run cancellation disabled"): what is cancelled afterwards would work on to its end.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.exceptions import PrefectHTTPStatusError
from prefect.runtime import flow_run as this_run

ASK_SECONDS = 10.0
TIMES = 4  # seen as being cancelled, before nobody else is expected to say so

Told = threading.Event


@contextmanager
def own_ears() -> Iterator[Told]:
    """Listen while a flow works; where it hears of a cancellation, set the event and raise SIGTERM in this thread."""
    told, done = Told(), threading.Event()
    if this_run.id is not None:
        about = (UUID(this_run.id), threading.get_ident(), told, done)
        threading.Thread(target=listen, args=about, daemon=True).start()
    try:
        yield told
    finally:
        done.set()


def listen(run: UUID, thread: int, told: Told, done: threading.Event) -> None:
    """Ask for the state of a run until it is done, or is being cancelled and stays so: then tell its thread."""
    with get_client(sync_client=True) as client:

        def being_cancelled() -> bool:
            with suppress(httpx.HTTPError, PrefectHTTPStatusError):  # the server is away, or busy
                state = client.read_flow_run(run).state
                return state is not None and state.type == StateType.CANCELLING
            return False

        if stays(being_cancelled, done):
            told.set()
            signal.pthread_kill(thread, signal.SIGTERM)


def stays(so: Callable[[], bool], done: threading.Event) -> bool:
    """Tell whether something is so several times in a row, before it is done."""
    seen = 0
    while not done.wait(ASK_SECONDS):
        seen = seen + 1 if so() else 0
        if seen == TIMES:
            return True
    return False
