"""`puriflow demo`: the whole recipe on handwritten digits, in under two minutes."""

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from flows.cli.options import AsJson, Device, StoreUrl, Workers, opened
from flows.cli.output import emit, errors, say

if TYPE_CHECKING:
    from flows.outcome import CleanResult
    from flows.scorecard import Scorecard

EXAMPLE = "puriflow demo"


def command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the demo's data and store go")] = Path(
        "puriflow-demo"
    ),
    store: StoreUrl = "",
    device: Device = "auto",
    workers: Workers = 1,  # so small a network gains nothing from a second core, and loses much where that is busy
    as_json: AsJson = False,
) -> None:
    """Clean digits with 40 % wrong labels and compare with the truth."""
    from flows.demo import TRUTH, write_demo
    from flows.document import load_document
    from flows.inline import run_clean
    from flows.scorecard import score, tests_of
    from flows.terminal import choose_view
    from pipeline.artifacts import Ref
    from pipeline.labels import read_labels
    from pipeline.requests import Resources

    request = load_document(write_demo(folder))
    place = opened(store, folder)
    with choose_view(errors(), quiet=as_json) as view:
        view.note(f"{folder}: handwritten digits, 40 % of the training labels are wrong, 10 rows a class are trusted")
        result = run_clean(request, place, view, Resources(device=device, workers=workers))
    labels, model = (place.get(Ref(kind=k, key=result.artifacts[k]["key"])) for k in ("labels", "models"))
    card = score(read_labels(labels.path("labels.parquet")), labels.path("candidates.parquet"), folder / TRUTH)
    tests = tests_of(model.metrics)
    record = {**result.to_dict(), "labels_right": card.to_dict(), "test_accuracy": tests, "folder": str(folder)}
    emit(record, as_json, lambda console: render(console, result, card, tests))


def render(console: Console, result: "CleanResult", card: "Scorecard", tests: dict[str, Any]) -> None:
    """Show the two tables, what they are worth, where everything lies, and what to do next."""
    from flows.cli.results import render_facts, summary_facts

    facts = summary_facts(result.summary)
    say(console, "")
    render_labels(console, card, str(result.summary.get("method", "")))
    render_tests(console, tests)
    render_facts(console, {name: facts[name] for name in ("wrong labels", "gain", "gate")})
    say(console, "")
    render_facts(console, {"label table": result.label_table, "report": result.report, "model": result.model or ""})
    render_next(console, result)


def render_labels(console: Console, card: "Scorecard", method: str) -> None:
    """Show how many labels are right: as given, as suggested, as purified, and by each baseline."""
    from flows.cli.results import render_rows
    from flows.quantities import count, percent

    rows = [[f"{name} labels", percent(share)] for name, share in card.right.items()]
    rows += [[f"  baseline {name}", percent(share)] for name, share in card.baselines.items()]
    render_rows(console, ["labels", "right"], rows, right=("right",))
    say(console, f"of {count(card.rows)} training rows whose true label the machine was never told\n", "dim")


def render_tests(console: Console, tests: dict[str, Any]) -> None:
    """Show what a model learns from the given and from the purified labels."""
    from flows.cli.results import render_rows
    from flows.quantities import count, percent

    rows = [[f"{name} labels", percent(tests[name])] for name in ("given", "purified")]
    render_rows(console, ["model trained on", "test accuracy"], rows, right=("test accuracy",))
    say(console, f"of {count(tests['rows'])} test rows, whose labels are clean\n", "dim")


def render_next(console: Console, result: "CleanResult") -> None:
    """Say how long it took and how to go on with one's own data."""
    from flows.quantities import duration

    if result.cached:
        say(console, f"\nAll of it was cached: {duration(result.seconds)}.")
    else:
        say(console, f"\n{duration(result.seconds)}; run it again, and everything is cached.")
    me = program()
    say(console, f"Your own data:  {me} init FOLDER, then {me} clean clean.yaml")


def program() -> str:
    """Name this program so that it can be typed here."""
    here = Path(sys.argv[0])
    found = shutil.which("puriflow")
    if here.name != "puriflow" or (found and Path(found).resolve() == here.resolve()):
        return "puriflow"
    near = os.path.relpath(here)
    return str(here.absolute()) if near.startswith("..") else near
