"""`puriflow review`: look at the rows whose checking helps most, and give the answers back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from flows.cli.options import AsJson, StoreUrl
from flows.cli.output import emit, say

if TYPE_CHECKING:
    from pipeline.artifacts import Artifact
    from pipeline.store import Store

app = typer.Typer(name="review", help="Look at the rows whose checking helps most, and give the answers back.")

Dataset = Annotated[str, typer.Argument(metavar="DATASET", help="A CLEAN.YAML, a dataset's name or STORE/DATASET")]
Rows = Annotated[int, typer.Option("--n", "-n", min=1, max=2000, help="How many rows to show")]
Out = Annotated[Path, typer.Option("--out", "-o", help="The page (or, with --to label-studio, a new folder)")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Draw other rows")]
Form = Annotated[str, typer.Option("--to", help="html or label-studio")]


@app.command("next", epilog="Example:  puriflow review next clean.yaml --n 100")
def next_rows(
    dataset: Dataset,
    number: Rows = 100,
    out: Out = Path("review.html"),
    method: Annotated[str, typer.Option("--method", help="expected_gain, uncertainty, disagreement or random")] = "",
    seed: Seed = 0,
    form: Form = "html",
    store: StoreUrl = "",
    as_json: AsJson = False,
) -> None:
    """Pick the rows whose checking helps most, and write a page to check them on.

    A quarter of them is drawn at random, so that the yardstick stays honest.
    """
    from stages.review.config import ReviewConfig

    config = checked({"rows": number, "seed": seed, **({"method": method} if method else {})}, ReviewConfig)
    offer((dataset, store), config, (out, form), as_json=as_json, labels=True)


@app.command(epilog="Example:  puriflow review start clean.yaml --n 100")
def start(
    dataset: Dataset,
    number: Rows = 100,
    out: Out = Path("review.html"),
    seed: Seed = 0,
    form: Form = "html",
    store: StoreUrl = "",
    as_json: AsJson = False,
) -> None:
    """Pick a first set to check where no label is trusted yet: half drawn at random, half to cover the classes.

    It needs a run that came as far as features, whatever became of it afterwards.
    """
    from stages.review.config import ReviewConfig

    config = checked({"rows": number, "seed": seed, "method": "cover", "random_share": 0.5}, ReviewConfig)
    offer((dataset, store), config, (out, form), as_json=as_json, labels=False)


@app.command("import", epilog="Example:  puriflow review import clean.yaml review-shop-photos-3f9a21c0.json")
def import_file(
    dataset: Dataset,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The saved JSON or CSV, Label Studio's JSON, a table")],
    replace: Annotated[bool, typer.Option("--replace", help="Let this file win over earlier decisions")] = False,
    who: Annotated[str, typer.Option("--who", help="Who decided, where the file does not say")] = "",
    store: StoreUrl = "",
    as_json: AsJson = False,
) -> None:
    """Append a reviewer's decisions to the ledger; the next `clean` redoes only purify and later stages."""
    from dataclasses import asdict

    from flows.cli.target import dataset_at
    from flows.review import known_of, signed
    from pipeline.datasets.reviews import read_answers
    from pipeline.datasets.verdicts import import_answers

    opened, name = dataset_at(dataset, store)
    answers = signed(read_answers(file), who)
    found = import_answers(opened, name, answers, known_of(opened, name), replacing=replace)
    record = {"dataset": name, "store": opened.url, **asdict(found)}
    emit(record, as_json, lambda console: render_import(console, record))


@app.command(epilog="Example:  puriflow review export shop-photos decisions.csv")
def export(
    dataset: Dataset,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new .csv or .parquet file")],
    history: Annotated[bool, typer.Option("--history", help="Also what was decided otherwise later")] = False,
    store: StoreUrl = "",
    as_json: AsJson = False,
) -> None:
    """Write the ledger of decisions into a file: who decided what, when, and how the row was chosen."""
    from flows.cli.target import dataset_at
    from flows.quantities import counted
    from flows.review import write_ledger

    opened, name = dataset_at(dataset, store)
    rows = write_ledger(opened, name, out, history=history)
    record = {"dataset": name, "path": str(out), "rows": rows}
    emit(record, as_json, lambda console: say(console, f"{out}: {counted(rows, 'decision')} on '{name}'"))


def checked(values: dict[str, Any], config: Any) -> Any:
    """Make a configuration, or say what does not fit."""
    from pydantic import ValidationError

    from pipeline.config import describe_faults
    from pipeline.errors import ConfigError

    try:
        return config(**values)
    except ValidationError as error:
        raise ConfigError(f"the options do not fit: {describe_faults(error)}.", "See `--help`.") from error


def offer(named: tuple[str, str], config: Any, where: tuple[Path, str], *, as_json: bool, labels: bool) -> None:
    """Make the review, hand out its page or its tasks, and say what to do with them."""
    from flows.cli.target import dataset_at
    from flows.review import inputs_of, make_review, run_to_review
    from pipeline.datasets.decisions import newest_number
    from pipeline.errors import ConfigError

    out, form = where
    if form not in ("html", "label-studio"):
        raise ConfigError(f"there is no form '{form}'.", "Choose one of: html, label-studio.")
    store, dataset = dataset_at(*named)
    inputs = inputs_of(store, run_to_review(store, dataset, labels=labels), labels=labels)
    config = config.model_copy(update={"decided": newest_number(store, dataset)})
    review = make_review(store, config, inputs)
    hand_out(store, review, out, form)
    record = {"path": str(out.absolute()), "review": review.key, **review.metrics, "seconds": None}
    emit(record, as_json, lambda console: render_offer(console, record, named[0]))


def hand_out(store: "Store", review: "Artifact", out: Path, form: str) -> None:
    """Copy the page, or write tasks for Label Studio."""
    from flows.review import write_tasks
    from pipeline.exports.export import appearing

    if form == "label-studio":
        write_tasks(store, review, out)
        return
    with appearing(out) as target:
        target.write_bytes(review.path("review.html").read_bytes())


def render_offer(console: Console, record: dict[str, Any], named: str) -> None:
    """Say what was picked and what comes next."""
    from flows.quantities import count

    say(console, f"{record['path']}: {count(record['rows'])} rows of '{record['dataset']}' to look at")
    say(console, f"{count(record['drawn'])} of them drawn at random from {count(record['pool'])}, to measure by", "dim")
    say(console, f"Open it in a browser, save the decisions, then:  puriflow review import {named} FILE")


def render_import(console: Console, record: dict[str, Any]) -> None:
    """Say what was written down."""
    from flows.quantities import counted

    words = [f"{counted(record['decided'], 'decision')} on '{record['dataset']}' written down"]
    words += [f"{record[name]} {text}" for name, text in (
        ("drawn", "of them drawn at random"), ("replaced", "replace earlier ones"), ("skipped", "rows left open"),
        ("known", "known already"),
    ) if record[name]]  # fmt: skip
    say(console, ", ".join(words) + ".")
    if record["decided"]:
        say(console, "Run `puriflow clean` again: only purify and later stages have work to do.")
