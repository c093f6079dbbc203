"""`puriflow labels`: look at a label table, compare two, carry one away."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from flows.cli.options import AsJson, StoreUrl
from flows.cli.output import emit, say

app = typer.Typer(name="labels", help="Look at a label table, compare two, carry one away.")

NAMED = "labels.parquet, its folder, CLEAN.YAML (its last run) or STORE/DATASET (the newest version; @3: the third)"
Table = Annotated[str, typer.Argument(metavar="TABLE", help=NAMED)]


@app.command(epilog="Example:  puriflow labels show puriflow-store/shop-photos --action relabel -n 20")
def show(
    table: Table,
    action: Annotated[str, typer.Option("--action", help="Only keep, relabel, review, trusted or none")] = "",
    number: Annotated[int, typer.Option("--rows", "-n", min=0, help="Rows to show")] = 10,
    store: StoreUrl = "",
    as_json: AsJson = False,
) -> None:
    """Show what a label table says, and some of its rows.

    Rows per action, the share of wrong labels, the gain on trusted rows, the gate.
    """
    from flows.cli.target import labels_at
    from flows.label_view import counts_of, rows_of
    from pipeline.labels import read_labels, read_metadata

    path = labels_at(table, store)
    labels, metadata = read_labels(path), read_metadata(path)
    record = {
        "label_table": str(path), "rows": len(labels), "classes": metadata["classes"], "counts": counts_of(labels),
        "noise": metadata["noise"], "audit": metadata["audit"], "gate": metadata["gate"],
        "baselines": metadata.get("baselines"), "sample": rows_of(labels, action, number),
    }  # fmt: skip
    emit(record, as_json, lambda console: render(console, record))


def render(console: Console, record: dict[str, Any]) -> None:
    """Show the facts and the rows."""
    from flows.cli.results import render_baselines, render_facts, render_rows, summary_facts
    from flows.quantities import counted

    facts = {
        "label table": record["label_table"],
        "rows": f"{counted(record['rows'], 'row')} of {counted(len(record['classes']), 'class', 'classes')}",
    }
    render_facts(console, facts | summary_facts(record))
    render_baselines(console, record)
    if record["sample"]:
        say(console, "")
        headings = list(record["sample"][0])
        rows = [[shown(value) for value in row.values()] for row in record["sample"]]
        render_rows(console, headings, rows, right=("confidence", "given_confidence"))


def shown(value: object) -> str:
    """Write one cell."""
    return "–" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)


@app.command(epilog="Example:  puriflow labels export clean.yaml changed.csv --to csv --only relabelled")
def export(
    table: Table,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new file (csv, jsonl) or a new folder (the others)")],
    form: Annotated[
        str, typer.Option("--to", help="csv, jsonl, imagefolder, hf-dataset, label-studio or cleanlab")
    ] = "csv",
    only: Annotated[
        list[str] | None, typer.Option("--only", help="relabelled, keep, review, trusted or none; may be repeated")
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option("--split", help="train, validation or test; may be repeated")
    ] = None,
    min_confidence: Annotated[
        float, typer.Option("--min-confidence", min=0, max=1, help="Only rows whose purified label is as sure as this")
    ] = 0.0,
    store: StoreUrl = "",
    as_json: AsJson = False,
) -> None:
    """Write a label table in the form that another program reads.

    imagefolder and hf-dataset hold the images, label-studio holds tasks with the purified label to check.
    """
    from flows.cli.options import existing
    from flows.cli.target import labels_at
    from flows.quantities import count
    from pipeline.errors import ConfigError
    from pipeline.exports.export import FORMS, Chosen, export_labels
    from pipeline.labelled import open_labelled

    if form not in FORMS:
        raise ConfigError(f"there is no form '{form}'.", f"Choose one of: {', '.join(FORMS)}.")
    labelled = open_labelled(labels_at(table, store), existing(store) if store else None)
    chosen = Chosen(only or (), split or (), min_confidence)
    done = export_labels(labelled, form, out, chosen)  # type: ignore[arg-type]  # it is one of FORMS
    record = {"path": str(done.path), "form": form, "rows": done.rows, "of": done.of, "notes": done.notes}

    def render_export(console: Console) -> None:
        say(console, f"{done.path}: {count(done.rows)} of {count(done.of)} rows as {form}")
        for note in done.notes:
            say(console, note, "dim")

    emit(record, as_json, render_export)


@app.command(epilog="Example:  puriflow labels diff puriflow-store/shop-photos@1 puriflow-store/shop-photos")
def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help=NAMED)],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The same")],
    form: Annotated[str, typer.Option("--to", help="markdown, json or parquet")] = "markdown",
    rows: Annotated[bool, typer.Option("--rows", help="parquet: one line per changed sample, not per group")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A new file; parquet needs one")] = None,
    store: StoreUrl = "",
    as_json: AsJson = False,
) -> None:
    """Say what became of labels between two label tables.

    Counts by given, old and new label, the classes that moved most, the actions that changed.
    """
    from flows.cli.target import labels_at
    from flows.label_diff import diff_labels, markdown, write_diff
    from pipeline.labels import read_labels, read_metadata

    tables = [(read_labels(path), read_metadata(path)) for path in (labels_at(old, store), labels_at(new, store))]
    found = diff_labels(tables[0], tables[1])
    if out is not None or form == "parquet":
        write_diff(found, form, out, rows=rows)
    emit(found.to_dict(), as_json or (form == "json" and out is None),
         lambda console: say(console, f"{out}: {found.sentence()}" if out else markdown(found).rstrip()))  # fmt: skip


@app.command(epilog="Example:  puriflow labels schema --to json-schema")
def schema(
    form: Annotated[str, typer.Option("--to", help="table, json-schema or spark")] = "table",
    as_json: AsJson = False,
) -> None:
    """Print the columns of the label table, their types and what they mean."""
    from flows.cli.results import render_rows
    from pipeline.errors import ConfigError
    from pipeline.label_schema import columns, json_schema, spark_schema
    from pipeline.labels import LABELS_VERSION

    others = {"json-schema": json_schema, "spark": spark_schema}
    if form in others:
        emit(others[form](), True, lambda _: None)
        return
    if form != "table":
        raise ConfigError(f"there is no form '{form}'.", f"Choose one of: table, {', '.join(others)}.")
    found = columns()
    rows = [list(column.values()) for column in found]
    emit(
        {"schema_version": LABELS_VERSION, "columns": found}, as_json,
        lambda console: render_rows(console, ["column", "type", "meaning"], rows),
    )  # fmt: skip
