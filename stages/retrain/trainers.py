"""Programs that the operator of a worker lets people train with: found by name, run without a shell."""

import ctypes
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError, DataError
from pipeline.keys import read_json_file
from stages.shell import Context

TRAINERS_ENV = "PURIFLOW_TRAINERS"  # JSON {"name": ["program", "argument", …]}, or the path of a file with it
LOG_FILE = "trainer.log"
LOG_LINES = 20
POLL_SECONDS = 0.2
GRACE_SECONDS = 40.0
DIE_WITH_PARENT = 1  # prctl's PR_SET_PDEATHSIG

LIBC = ctypes.CDLL(None)


def find_trainer(name: str) -> list[str]:
    """Return the program and arguments that the operator gave a name."""
    defined = defined_trainers()
    if name not in defined:
        known = ", ".join(sorted(defined)) or "none"
        raise ConfigError(
            f"there is no trainer '{name}' on this worker; defined are: {known}.",
            f"Name one of these, or ask the operator to define it in {TRAINERS_ENV}.",
        )
    return defined[name]


def defined_trainers() -> dict[str, list[str]]:
    """Read what the operator defined."""
    said = os.environ.get(TRAINERS_ENV, "").strip()
    try:
        defined = json.loads(said or "{}") if said[:1] in ("", "{") else read_json_file(Path(said))
    except ValueError:
        defined = None
    if not isinstance(defined, dict) or not all(is_command(command) for command in defined.values()):
        raise ConfigError(
            f'{TRAINERS_ENV} is neither JSON such as {{"name": ["program", "argument"]}} nor a file with it.',
            "The operator of this worker must mend it.",
        )
    return defined


def is_command(value: Any) -> bool:
    """Tell whether something is a list of words with a program in front."""
    return isinstance(value, list) and bool(value) and all(isinstance(word, str) and word for word in value)


def run_trainer(name: str, task: Path, context: Context) -> None:
    """Run a trainer to its end, in the folder of its task; it hears of signals, and never outlives the stage."""
    command, log = [*find_trainer(name), str(task)], task.with_name(LOG_FILE)
    with log.open("wb") as file:
        try:
            process = subprocess.Popen(
                command, cwd=task.parent, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True,
                preexec_fn=die_with_parent,
            )  # fmt: skip
        except OSError as error:
            raise ConfigError(
                f"trainer '{name}' cannot be started: {command[0]}: {error.strerror}.",
                f"The operator of this worker must mend {TRAINERS_ENV}.",
            ) from error
    try:
        code = wait(process, log, context)
    finally:
        end(process)
    if code != 0:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:])
        raise DataError(f"trainer '{name}' ended with code {code}:\n{tail}\n", "Mend the trainer or its settings.")


def die_with_parent() -> None:
    """Ask the kernel, in the new process, to end it when the stage is killed."""
    LIBC.prctl(DIE_WITH_PARENT, signal.SIGKILL)


def wait(process: "subprocess.Popen[bytes]", log: Path, context: Context) -> int:
    """Pass on how far it is, and the wish to stop; return its exit code."""
    with log.open("rb") as lines:
        while True:
            code = process.poll()
            tell(lines.readlines(), context)
            if code is not None:
                return code
            if context.stop.requested:
                end(process)
                raise context.stop.ended()
            time.sleep(POLL_SECONDS)


def tell(lines: list[bytes], context: Context) -> None:
    """Report lines such as {"done": 3, "of": 10, "loss": 0.4}; all others are the trainer's own affair."""
    for line in lines:
        try:
            said = json.loads(line) if line.startswith(b"{") else {}
            done, total = float(said.pop("done")), float(said.pop("of"))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        figures = {str(n): v for n, v in said.items() if isinstance(v, (int, float)) and abs(v) < float("inf")}
        context.progress.report("train", done, total, "steps", figures)


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a trainer and all that it started: asked first, killed if it does not listen."""
    for number, patience in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, None)):
        if process.poll() is None:
            os.killpg(process.pid, number)
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                continue
