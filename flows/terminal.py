"""What a run shows while it works: one live bar a stage in a terminal, plain lines elsewhere, nothing for `--json`."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from flows.headlines import headline
from flows.quantities import count, duration, rate
from pipeline.progress import ProgressLine

if TYPE_CHECKING:
    from flows.recipe import StageOutcome

NARROW = 72  # columns below which the bar gives its place to the words
ROOMY = 100  # columns from which the bar may be long
PLAIN_SECONDS = 10.0


class QuietView:
    """Show nothing: `--json`, and whoever asks by a program."""

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; what is shown stays."""

    def started(self, stage: str, total_stages: int) -> None:
        """Take note that a stage begins."""

    def progress(self, stage: str, line: ProgressLine) -> None:
        """Take note of how far a stage is."""

    def finished(self, outcome: "StageOutcome") -> None:
        """Take note that a stage's artifact is there."""

    def note(self, text: str) -> None:
        """Pass on a remark."""


class PlainView(QuietView):
    """One line when a stage begins and ends, and one every ten seconds between: for logs and pipes."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._said_at = 0.0
        self._number = 0

    def started(self, stage: str, total_stages: int) -> None:
        """Say which stage begins."""
        self._number += 1
        self._said_at = self._clock()
        self._say(f"[{self._number}/{total_stages}] {stage} ...")

    def progress(self, stage: str, line: ProgressLine) -> None:
        """Say how far a stage is, where ten seconds went by in silence."""
        if self._clock() - self._said_at >= PLAIN_SECONDS:
            self._said_at = self._clock()
            self._say(f"{stage}: {describe_progress(line)}")

    def finished(self, outcome: "StageOutcome") -> None:
        """Say that a stage is done."""
        self._say(f"{outcome.stage}: {describe_outcome(outcome)}")

    def note(self, text: str) -> None:
        """Say a remark."""
        self._say(text)

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


@dataclass
class StageRow:
    """What the live view knows of one stage."""

    stage: str
    started: float
    line: ProgressLine | None = None
    outcome: "StageOutcome | None" = None
    spinner: Spinner = field(default_factory=lambda: Spinner("dots", style="cyan"))


class LiveView(QuietView):
    """One bar a stage, redrawn in place, with rate, remaining time and the metric that matters."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._rows: dict[str, StageRow] = {}
        self._live = Live(console=console, get_renderable=self.render, refresh_per_second=8, redirect_stdout=False)

    def __enter__(self) -> Self:
        """Take over the lines below the cursor."""
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last picture standing."""
        self._live.stop()

    def started(self, stage: str, total_stages: int) -> None:
        """Add a bar."""
        self._rows[stage] = StageRow(stage, self._clock())

    def progress(self, stage: str, line: ProgressLine) -> None:
        """Move a bar."""
        self._rows[stage].line = line

    def finished(self, outcome: "StageOutcome") -> None:
        """Tick a stage off."""
        row = self._rows.setdefault(outcome.stage, StageRow(outcome.stage, self._clock()))
        row.outcome = outcome

    def note(self, text: str) -> None:
        """Write a remark above the bars."""
        self._console.print(text, markup=False, highlight=False, style="yellow")

    def render(self) -> RenderableType:
        """Draw all stages at the width that the terminal has now."""
        wide = self._console.width >= NARROW
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(width=1)
        grid.add_column(width=9, no_wrap=True)
        if wide:
            grid.add_column(width=18 if self._console.width >= ROOMY else 10)
        grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        for row in self._rows.values():
            cells = [mark_of(row), Text(row.stage, style="bold"), Text(self._words(row), no_wrap=True)]
            grid.add_row(*([*cells[:2], bar_of(row), *cells[2:]] if wide else cells))
        return grid

    def _words(self, row: StageRow) -> str:
        if row.outcome is not None:
            return describe_outcome(row.outcome)
        return describe_progress(row.line) if row.line else f"starting, {duration(self._clock() - row.started)}"


def mark_of(row: StageRow) -> RenderableType:
    """Choose the sign before a stage's name."""
    return row.spinner if row.outcome is None else Text("✓", style="green")


def bar_of(row: StageRow) -> RenderableType:
    """Draw a stage's bar: full when done, pulsing while the total is unknown."""
    if row.outcome is not None:
        return ProgressBar(total=1, completed=1, finished_style="green")
    if row.line is None or row.line.total <= 0:
        return ProgressBar(total=None, pulse=True)
    return ProgressBar(total=row.line.total, completed=row.line.step)


def describe_progress(line: ProgressLine) -> str:
    """Say how far, how long yet, how fast, and what is measured: what matters most comes first, the rest may be cut."""
    remaining = line.remaining_seconds
    parts = [
        f"{line.phase} {count(line.step)}" + (f"/{count(line.total)}" if line.total else ""),
        f"{duration(remaining)} left" if remaining else "",
        rate(line.rate, line.unit),
        *(f"{name} {value if isinstance(value, str) else f'{value:.4g}'}" for name, value in line.metrics.items()),
    ]
    return " · ".join(part for part in parts if part)


def describe_outcome(outcome: "StageOutcome") -> str:
    """Say whether a stage was cached or how long it took, and its main figure."""
    parts = ["cached" if outcome.cached else f"done in {duration(outcome.seconds)}", headline(outcome.artifact)]
    return " · ".join(part for part in parts if part)


def choose_view(console: Console, quiet: bool) -> QuietView:
    """Pick the view that fits where progress goes to."""
    if quiet:
        return QuietView()
    return LiveView(console) if console.is_terminal and not console.is_dumb_terminal else PlainView(console)
