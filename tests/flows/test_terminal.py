"""What a run shows: plain lines for logs, bars for terminals of every width, nothing for programs."""

import io
import time

from rich.console import Console

from flows.recipe import StageOutcome
from flows.terminal import (
    LiveView,
    PlainView,
    QuietView,
    choose_view,
    describe_outcome,
    describe_progress,
)
from pipeline.artifacts import Artifact, Manifest
from pipeline.progress import ProgressLine
from pipeline.store import FileStore


def line(**fields: object) -> ProgressLine:
    return ProgressLine.model_validate({"time": time.time(), "phase": "train", **fields})


def outcome(tmp_store: FileStore, kind: str, cached: bool = False, **metrics: object) -> StageOutcome:
    manifest = Manifest(kind=kind, key="0" * 32, metrics=metrics)
    return StageOutcome("purify" if kind == "labels" else "ingest", Artifact(manifest, tmp_store), cached, 12.34)


def plain() -> tuple[PlainView, io.StringIO, list[float]]:
    text, now = io.StringIO(), [0.0]
    return PlainView(Console(file=text, width=60), clock=lambda: now[0]), text, now


def test_a_progress_line_says_how_far_how_fast_how_long_and_what(tmp_path: object) -> None:
    words = describe_progress(line(step=500, total=2000, unit="images", rate=125.04, metrics={"loss": 3.21987}))
    assert words == "train 500/2,000 · 12 s left · 125 images/s · loss 3.22"


def test_an_unknown_total_promises_nothing() -> None:
    assert describe_progress(line(step=7, unit="rows")) == "train 7"


def test_an_outcome_says_its_main_figure(tmp_path) -> None:
    store = FileStore(tmp_path)
    assert describe_outcome(outcome(store, "datasets", cached=True, rows=1797)) == "cached · 1,797 rows"
    labels = outcome(
        store, "labels", counts={"relabel": 575}, audit={"suggested_right": 0.97},
        gate={"open": True, "verdict": "proven"},
    )  # fmt: skip
    assert (
        describe_outcome(labels) == "done in 12 s · 575 relabelled · gate open: proven · 97.0 % right on trusted rows"
    )


def test_plain_lines_come_at_start_and_end_and_every_ten_seconds(tmp_path) -> None:
    view, text, now = plain()
    with view:
        view.started("ingest", 6)
        for second in range(25):
            now[0] = float(second)
            view.progress("ingest", line(step=second, total=25))
        view.finished(outcome(FileStore(tmp_path), "datasets", rows=3))
    said = text.getvalue().splitlines()
    assert said[0] == "[1/6] ingest ..."
    assert [words.split()[2] for words in said[1:-1]] == ["10/25", "20/25"]
    assert said[-1] == "ingest: done in 12 s · 3 rows"


def test_plain_lines_are_never_wrapped_nor_read_as_markup() -> None:
    view, text, _ = plain()
    view.note("[red]" + "x" * 200)
    assert text.getvalue() == "[red]" + "x" * 200 + "\n"


def live(width: int) -> tuple[LiveView, Console]:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    return LiveView(console), console


def drawn(view: LiveView, console: Console) -> list[str]:
    with console.capture() as capture:
        console.print(view.render())
    return [text.rstrip() for text in capture.get().splitlines()]


def test_bars_fit_every_width(tmp_path) -> None:
    for width in (20, 40, 71, 72, 120, 250):
        view, console = live(width)
        view.started("ingest", 6)
        view.finished(outcome(FileStore(tmp_path), "datasets", rows=1797))
        view.started("represent", 6)
        view.progress("represent", line(step=500, total=2000, unit="images", rate=125, metrics={"loss": 3.2}))
        rows = drawn(view, console)
        assert len(rows) == 2
        assert max(map(len, rows)) <= width
        assert rows[0].startswith("✓ ingest")
        assert " represent " in rows[1] or width < 72
        assert ("━" in rows[1]) == (width >= 72)


def test_the_remaining_time_is_whole_on_a_usual_and_on_a_narrow_terminal() -> None:
    for width in (56, 80):
        view, console = live(width)
        view.started("represent", 6)
        long = line(step=11_904, total=122_880, unit="samples", rate=302, metrics={"loss": 3.2})
        view.progress("represent", long)
        assert "6 min 07 s left" in drawn(view, console)[0]


def test_a_cached_stage_that_never_started_is_shown(tmp_path) -> None:
    view, console = live(80)
    with view:
        view.finished(outcome(FileStore(tmp_path), "datasets", cached=True, rows=2))
    assert drawn(view, console)[0].endswith("cached · 2 rows")


def test_the_view_fits_where_it_goes_to() -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "xterm"})
    dumb = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"})
    assert type(choose_view(terminal, quiet=True)) is QuietView
    assert type(choose_view(terminal, quiet=False)) is LiveView
    assert type(choose_view(dumb, quiet=False)) is PlainView
    assert type(choose_view(Console(file=io.StringIO()), quiet=False)) is PlainView
