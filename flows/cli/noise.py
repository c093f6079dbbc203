"""`puriflow noise`: a noisy copy of a clean table, to try methods on."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from flows.cli.options import AsJson
from flows.cli.output import emit, say

EXAMPLE = "puriflow noise clean.parquet --kind symmetric --rate 0.4 --out noisy"


def command(
    table: Annotated[Path, typer.Argument(metavar="IN.PARQUET", help="A table whose labels are right")],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the noisy copy and truth.parquet go")],
    kind: Annotated[str, typer.Option("--kind", help="symmetric, uniform, asymmetric or pair")] = "symmetric",
    rate: Annotated[float, typer.Option("--rate", min=0, max=1, help="Share of the labels that become wrong")] = 0.4,
    label: Annotated[str, typer.Option("--label", help="The column of labels")] = "label",
    sample_id: Annotated[str, typer.Option("--id", help="The column of ids; default: the row numbers")] = "",
    split: Annotated[str, typer.Option("--split", help="A column of splits: only train rows get noise")] = "",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same seed, same noise")] = 0,
    as_json: AsJson = False,
) -> None:
    """Copy a table and put wrong labels in.

    The true ones go to truth.parquet beside it, which no run may read.
    """
    from flows.noisy import Columns, write_noisy
    from flows.quantities import count, percent

    made = write_noisy(table, out, Columns(label, sample_id, split), (kind, rate, seed))

    def render(console: Console) -> None:
        share = f" ({percent(made.wrong / made.rows)})" if made.rows else ""
        say(console, f"{count(made.wrong)} of {count(made.rows)} labels are wrong now{share}")
        say(console, f"{made.noisy}\n{made.truth}")

    emit(made.to_dict(), as_json, render)
