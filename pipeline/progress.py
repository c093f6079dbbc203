"""Progress lines: one JSON object a line in the attempt's own work folder; bars and the UI are made from it."""

import math
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import Field, ValidationError

from pipeline.config import Config

PROGRESS_FILE = "progress.jsonl"


class ProgressLine(Config):
    """How far a stage is: steps done of total, steps a second, and what it measures now."""

    time: float
    phase: str = ""
    step: float = 0
    total: float = 0
    unit: str = ""
    rate: float = 0
    metrics: dict[str, float | str] = Field(default_factory=dict)

    @property
    def remaining_seconds(self) -> float | None:
        """Guess the remaining time of the phase (None where nothing is known)."""
        if self.rate <= 0 or self.total <= 0:
            return None
        return max(self.total - self.step, 0) / self.rate


class ProgressWriter:
    """Append progress lines, at most one every `interval` seconds for each phase but the first and the last."""

    def __init__(self, folder: Path, interval: float = 0.25) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / PROGRESS_FILE
        torn = path.exists() and not (path.read_bytes() or b"\n").endswith(b"\n")
        self._file = path.open("a", encoding="utf-8")
        if torn:  # an earlier attempt was killed in the middle of a line
            self._file.write("\n")
        self._interval = interval
        self._phase: str | None = None
        self._started = (0.0, 0.0)
        self._last = 0.0

    def report(
        self, phase: str, step: float, total: float, unit: str = "", metrics: Mapping[str, float | str] | None = None
    ) -> None:
        """Say where the stage is; cheap enough to call at every step."""
        now = time.time()
        if phase != self._phase:
            self._phase, self._started, self._last = phase, (now, step), 0.0
        if now - self._last < self._interval and (step < total or total <= 0):
            return
        seconds, steps = now - self._started[0], step - self._started[1]
        line = ProgressLine(
            time=now, phase=phase, step=step, total=total, unit=unit,
            rate=steps / seconds if seconds > 0 else 0.0,
            metrics={k: v for k, v in (metrics or {}).items() if isinstance(v, str) or math.isfinite(v)},
        )  # fmt: skip
        self._last = now
        self._file.write(line.model_dump_json() + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_progress(folder: Path, offset: int = 0) -> tuple[list[ProgressLine], int]:
    """Read the whole lines after a byte offset; return them and the next offset."""
    path = folder / PROGRESS_FILE
    if not path.exists():
        return [], offset
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read()
    end = data.rfind(b"\n") + 1
    lines = []
    for text in data[:end].splitlines():
        with suppress(ValidationError):  # the torn line of a killed attempt
            lines.append(ProgressLine.model_validate_json(text))
    return lines, offset + end
