"""Run a stage program as a child process: in its own session, signals forwarded once, progress read while it works."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from pipeline.errors import (
    InterruptedRunError,
    PuriflowError,
    StageFailedError,
    ended_by,
    error_from_dict,
)
from pipeline.keys import read_json_file
from pipeline.progress import ProgressLine, read_progress
from pipeline.requests import ERROR_FILE, PARENT_ENV, StageRequest

POLL_SECONDS = 0.1
GRACE_SECONDS = 55.0
LOG_FILE = "stage.log"
LOG_LINES = 30

OnProgress = Callable[[ProgressLine], None]


class Children:
    """Start stage programs one after the other and pass on the wish to stop."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._signal = 0
        self._asked_at = 0.0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Catch SIGTERM and Ctrl-C while stages run; give the old handlers back afterwards."""
        try:
            before = {number: signal.signal(number, self._handle) for number in (signal.SIGTERM, signal.SIGINT)}
        except ValueError:  # not the main thread: whoever runs us there forwards signals himself
            before = {}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def run(self, request: StageRequest, on_progress: OnProgress) -> None:
        """Run one stage to its end; raise what it reports."""
        self._stop_if_asked()
        path = request.save(request.work_folder / "request.json")
        with (request.work_folder / LOG_FILE).open("ab") as log:
            self._process = subprocess.Popen(
                command(request.stage, path, request.resources.processes), cwd=request.work_folder,
                start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**environment(), "PYTHONUNBUFFERED": "1"},
            )  # fmt: skip
        try:
            code = self._wait(self._process, request.work_folder, on_progress)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            self._process = None
        if code != 0:
            raise failure(request, code, self._signal)

    def ask_to_stop(self, number: int = signal.SIGTERM) -> None:
        """Forward a signal to the stage that runs; a second one ends it at once."""
        first, self._signal = not self._signal, number
        self._asked_at = self._asked_at or time.monotonic()
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number if first else signal.SIGKILL)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.ask_to_stop(number)

    def _stop_if_asked(self) -> None:
        if self._signal:
            raise ended_by(self._signal)("stopped between two stages.", "Run the same command again to go on.")

    def _wait(self, process: "subprocess.Popen[bytes]", work: Path, on_progress: OnProgress) -> int:
        offset = 0
        if self._signal:  # it came while the process was being started
            process.send_signal(self._signal)
        while True:
            try:
                code: int | None = process.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                code = None
            lines, offset = read_progress(work, offset)
            for line in lines[-1:] if code is None else lines:
                on_progress(line)
            if code is not None:
                return code
            if self._asked_at and time.monotonic() - self._asked_at > GRACE_SECONDS:
                process.kill()


def command(stage: str, request: Path, processes: int = 1) -> list[str]:
    """Write the command line of a stage program (-P: the user's own folder `stages/` is never run)."""
    torchrun = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"] if processes > 1 else []
    return [sys.executable, "-P", "-m", *torchrun, f"stages.{stage}", str(request)]


def environment() -> dict[str, str]:
    """Tell a stage program its parent, and a launcher to pass -P on and to wait for the checkpoint.

    Threads that wait for each other sleep meanwhile, unless the user says otherwise: where two programs share the
    cores, threads that spin keep those off them that they wait for.
    """
    grace = str(round(GRACE_SECONDS))
    told = {PARENT_ENV: str(os.getpid()), "PYTHONSAFEPATH": "1", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": grace}
    return {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, **told}


def failure(request: StageRequest, code: int, asked: int = 0) -> PuriflowError:
    """Say why a stage ended without an artifact; `asked` is the signal by which it was asked to."""
    record = read_json_file(request.work_folder / ERROR_FILE)
    if record and record.get("code") != PuriflowError.code:
        return error_from_dict(record)
    if code == InterruptedRunError.exit_code:
        return InterruptedRunError(f"{request.stage} stopped; a checkpoint is written.", "Run the same command again.")
    if asked and not record:  # killed by a second signal, or asked before it could listen: Python ends with 1 then
        return ended_by(asked)(f"{request.stage} was ended at once.", "Run the same command again.")
    if (number := -code if code < 0 else code - 128) in (signal.SIGTERM, signal.SIGINT):
        return ended_by(number)(f"{request.stage} was stopped.", "Run the same command again.")
    log = request.work_folder / LOG_FILE
    tail = (
        "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]) if log.exists() else ""
    )
    if code == -signal.SIGKILL:
        return StageFailedError(
            f"{request.stage} was killed by the system, probably because memory ran out. {tail}",
            "Lower batch_size, or give the machine more memory; what was finished is kept.",
        )
    return StageFailedError(
        f"{request.stage} ended with code {code}:\n{tail}\n", "This is our fault: please report it with these lines."
    )
