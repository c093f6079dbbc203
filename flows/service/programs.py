"""Stage programs below a flow run: a wish to stop comes as Prefect's exception, and leaves time for a checkpoint."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect import get_run_logger
from prefect.exceptions import TerminationSignal

from flows.child import Children, OnProgress
from pipeline.errors import InterruptedRunError


class StagePrograms(Children):
    """Start stage programs; Prefect's signal handler stays, or it would call every cancelled run crashed."""

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Leave signals to Prefect."""
        yield

    def _wait(self, process: "subprocess.Popen[bytes]", work: Path, on_progress: OnProgress) -> int:
        try:
            return super()._wait(process, work, on_progress)
        except TerminationSignal:
            self.ask_to_stop()
            code = super()._wait(process, work, lambda _: None)
            kept = "a checkpoint is written" if code == InterruptedRunError.exit_code else "there is no new checkpoint"
            get_run_logger().warning("the stage has stopped; %s", kept)
            raise
