"""Being asked to stop: SIGTERM, Ctrl-C, or a parent that died; the stage finishes its step and checkpoints."""

import os
import select
import signal
import threading
import time
from types import FrameType

from pipeline.errors import EndedWithoutCheckpointError, InterruptedRunError, ended_by
from pipeline.requests import PARENT_ENV
from stages.shell.ranks import LAUNCHED

GRACE_SECONDS = 50.0
POLL_SECONDS = 0.3


class StopFlag:
    """Remember that somebody asked for the end, and by which signal."""

    def __init__(self) -> None:
        self.signal = 0
        self.immediate = True  # nothing is worth a checkpoint yet

    @property
    def requested(self) -> bool:
        """Tell whether the stage should end after this step."""
        return self.signal != 0

    def request(self, number: int) -> None:
        """Ask for the end."""
        self.signal = self.signal or number

    def check(self) -> None:
        """Raise where the end was asked for and no checkpoint is worth writing."""
        if self.requested:
            raise self.ended()

    def ended(self) -> EndedWithoutCheckpointError:
        """Make the error that says: stopped, and what was done since the last checkpoint is lost."""
        name = signal.Signals(self.signal).name
        return ended_by(self.signal)(f"stopped by {name} before a checkpoint.", "Run the same command again.")

    def interrupted(self) -> InterruptedRunError:
        """Make the error that says: stopped, a checkpoint is written, run again to go on."""
        return InterruptedRunError("stopped; a checkpoint is written.", "Run the same command again to go on.")

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.request(number)
        if self.immediate:
            self.check()

    def install(self) -> None:
        """Listen to signals, and to the death of the parent that `PURIFLOW_PARENT` names and of a launcher."""
        signal.signal(signal.SIGTERM, self._handle)
        signal.signal(signal.SIGINT, self._handle)
        os.register_at_fork(after_in_child=leave_signals_to_parent)
        parent = int(os.environ.get(PARENT_ENV, "0"))
        if parent:
            threading.Thread(target=self._watch, args=(parent, False), daemon=True).start()
        if LAUNCHED in os.environ:
            threading.Thread(target=self._watch, args=(os.getppid(), True), daemon=True).start()

    def _watch(self, process: int, launcher: bool) -> None:
        wait_for_death(process)
        if launcher and self.requested:  # a launcher that was asked waits for us, unless it is to end at once
            os._exit(128 + self.signal)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os._exit(128 + signal.SIGTERM)


def leave_signals_to_parent() -> None:
    """Let a forked worker end by SIGTERM at once, and leave Ctrl-C at a terminal to the stage, which tells it."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def wait_for_death(process: int) -> None:
    """Return when a process has ended (not only a parent: under torchrun the parent is the launcher)."""
    try:
        handle = os.pidfd_open(process)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):  # not Linux, or forbidden by a sandbox
        while is_alive(process):
            time.sleep(POLL_SECONDS)
        return
    ended = select.poll()
    ended.register(handle, select.POLLIN)
    ended.poll()
    os.close(handle)


def is_alive(process: int) -> bool:
    """Tell whether a process of this number exists."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
