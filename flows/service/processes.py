"""The processes of a service: each with a log, started again when they die, stopped with all that they began."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import StoreError

MARK_ENV = "PURIFLOW_SERVICE"  # in the environment of all that a service starts, so that nothing of it is left behind
STOP_SECONDS = 60.0
CALM_SECONDS = 60.0  # a process that lived so long starts again at once
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
LOG_LINES = 20


@dataclass
class Process:
    """One process that should always run."""

    name: str
    command: list[str]
    environment: Mapping[str, str]
    log: Path
    running: "subprocess.Popen[bytes] | None" = None
    started: float = 0.0
    pause: float = 0.0
    due: float = 0.0

    def start(self) -> None:
        """Start it, with its output at the end of its log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.running = subprocess.Popen(
                self.command, env={**os.environ, **self.environment}, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True,
            )  # fmt: skip
        self.started = time.monotonic()

    def revive(self) -> bool:
        """Start it again where it died, after a pause that grows; tell whether it had died."""
        now = time.monotonic()
        if self.running is not None and self.running.poll() is not None:
            calm = now - self.started > CALM_SECONDS
            self.pause = 0.0 if calm else min(max(2 * self.pause, FIRST_PAUSE), LONGEST_PAUSE)
            self.running, self.due = None, now + self.pause
            return True
        if self.running is None and now >= self.due:
            self.start()
        return False

    def tail(self) -> str:
        """Return the end of its log."""
        with suppress(OSError):
            return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:])
        return ""


@dataclass
class Service:
    """All processes of a service, in the order in which they start."""

    mark: str
    processes: list[Process] = field(default_factory=list)

    def add(self, name: str, command: list[str], environment: Mapping[str, str], log: Path) -> Process:
        """Start one more process."""
        process = Process(name, command, {**environment, MARK_ENV: self.mark}, log)
        try:
            process.start()
        except OSError as error:
            raise StoreError(f"{name} cannot be started: {error.strerror}.", f"Look at {log}.") from error
        self.processes.append(process)
        return process

    def stop(self) -> None:
        """Ask all to end, and what they began; end what does not listen."""
        deadline = time.monotonic() + STOP_SECONDS
        asked: set[int] = set()
        while left := self.alive():
            late = time.monotonic() > deadline
            for pid in left:
                if late or pid not in asked:
                    asked.add(pid)
                    with suppress(OSError):
                        os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
            time.sleep(0.2)

    def alive(self) -> list[int]:
        """List what is left of the service."""
        for process in self.processes:
            if process.running is not None:
                process.running.poll()
        return [pid for pid in marked(self.mark) if pid != os.getpid()]


def marked(mark: str) -> Iterator[int]:
    """Find the processes that carry a mark in their environment, whoever started them."""
    wanted = f"{MARK_ENV}={mark}".encode()
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                if state != "Z" and wanted in (folder / "environ").read_bytes().split(b"\0"):
                    yield int(folder.name)
