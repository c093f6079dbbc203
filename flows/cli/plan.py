"""`puriflow plan`: what a run would do."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from flows.cli.options import AsJson, Document, Profile, Settings, StoreUrl, opened
from flows.cli.output import emit, say

if TYPE_CHECKING:
    from flows.estimates import Estimate

EXAMPLE = "puriflow plan clean.yaml --profile quick"
WORDS = {"cached": "cached", "run": "will run", "later": "will run, unless its inputs turn out unchanged"}


def command(
    document: Document,
    store: StoreUrl = "",
    settings: Settings = None,
    profile: Profile = "",
    request_folder: Annotated[
        Path | None,
        typer.Option(
            "--request", metavar="FOLDER", help="Write the request of the first stage that will run, for schedulers"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what is cached, what will run, and what it will cost.

    Nothing is computed; time and disk are guessed from earlier runs.
    """
    from flows.document import load_document
    from flows.estimates import estimate
    from flows.plan import plan_clean

    request = load_document(document, settings or [], profile)
    place = opened(store, document.absolute().parent)
    stages = estimate(plan_clean(request, place, request_folder), place)
    record = {
        "dataset": request.dataset.name, "store": place.url, "stages": [s.to_dict() for s in stages],
        "seconds": total([s.seconds for s in stages]), "bytes": total([s.bytes for s in stages]),
    }  # fmt: skip
    emit(record, as_json, lambda console: render(console, stages, place.url))


def render(console: Console, stages: "list[Estimate]", store: str) -> None:
    """Show one line a stage, and the sum."""
    from flows.cli.results import render_rows
    from flows.quantities import duration, size

    rows = [
        [s.stage, WORDS[s.state], "" if s.state == "cached" else s.words(duration, s.seconds), s.words(size, s.bytes)]
        for s in stages
    ]
    render_rows(console, ["stage", "", "time", "disk"], rows, right=("time", "disk"))
    if all(stage.state == "cached" for stage in stages):
        say(console, f"store {store}\nall of it is cached")
        return
    seconds, used = total([s.seconds for s in stages]), total([s.bytes for s in stages])
    time = "unknown, for want of an earlier run" if seconds is None else f"about {duration(seconds)}"
    disk = "unknown" if used is None else f"about {size(used)}"
    say(console, f"store {store}\ntime {time}; new disk {disk}")


def total(parts: list[float | None]) -> float | None:
    """Add up; one unknown part makes the sum unknown."""
    return None if any(part is None for part in parts) else sum(part for part in parts if part is not None)
