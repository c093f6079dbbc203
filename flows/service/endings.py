"""How a flow ends: our errors as one readable message, a wish to stop as Prefect knows it."""

import signal
from collections.abc import Callable
from typing import Any

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.exceptions import TerminationSignal
from prefect.states import Cancelled, Failed

from flows.service.cancelling import own_ears
from pipeline.errors import InterruptedRunError, PuriflowError


def ended(work: Callable[[], State[Any]]) -> State[Any]:
    """Do the work of a flow; return the state that says how it ended."""
    with own_ears() as told:
        try:
            return work()
        except TerminationSignal:
            if told.is_set():  # Prefect does not know why this signal came, and would call it a crash
                return Cancelled(message="Cancelled. Run again to go on from the last checkpoint.")
            raise
        except InterruptedRunError as error:
            get_run_logger().warning("%s", error)
            signal.raise_signal(signal.SIGTERM)  # Prefect knows whether somebody cancelled or a machine went down
            return Failed(message=str(error))
        except PuriflowError as error:
            get_run_logger().error("%s", error)
            return Failed(message=str(error))
