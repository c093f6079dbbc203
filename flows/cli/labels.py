"""`puriflow labels`: look at a label table."""

from typing import Annotated, Any

import typer
from rich.console import Console

from flows.cli.options import AsJson, StoreUrl
from flows.cli.output import emit, say

app = typer.Typer(name="labels", help="Look at a label table.")


@app.command(epilog="Example:  puriflow labels show puriflow-store/shop-photos --action relabel -n 20")
def show(
    table: Annotated[
        str,
        typer.Argument(
            metavar="TABLE",
            help="labels.parquet, its folder, CLEAN.YAML (its last run) or STORE/DATASET (the newest version)",
        ),
    ],
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
        "sample": rows_of(labels, action, number),
    }  # fmt: skip
    emit(record, as_json, lambda console: render(console, record))


def render(console: Console, record: dict[str, Any]) -> None:
    """Show the facts and the rows."""
    from flows.cli.results import render_facts, render_rows, summary_facts
    from flows.quantities import counted

    facts = {
        "label table": record["label_table"],
        "rows": f"{counted(record['rows'], 'row')} of {counted(len(record['classes']), 'class', 'classes')}",
    }
    render_facts(console, facts | summary_facts(record))
    if record["sample"]:
        say(console, "")
        headings = list(record["sample"][0])
        rows = [[shown(value) for value in row.values()] for row in record["sample"]]
        render_rows(console, headings, rows, right=("confidence", "given_confidence"))


def shown(value: object) -> str:
    """Write one cell."""
    return "–" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)


@app.command(epilog="Example:  puriflow labels schema --json")
def schema(as_json: AsJson = False) -> None:
    """Print the columns of the label table, their types and what they mean."""
    from flows.cli.results import render_rows
    from flows.label_view import columns
    from pipeline.labels import LABELS_VERSION

    found = columns()
    rows = [list(column.values()) for column in found]
    emit(
        {"schema_version": LABELS_VERSION, "columns": found}, as_json,
        lambda console: render_rows(console, ["column", "type", "meaning"], rows),
    )  # fmt: skip
