"""`puriflow init`: a first configuration for a folder of data."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from flows.cli.options import AsJson
from flows.cli.output import emit, say

EXAMPLE = "puriflow init photos"


def command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the images or tables are")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The file to write")] = Path("clean.yaml"),
    as_json: AsJson = False,
) -> None:
    """Look at a folder and write a commented clean.yaml that fits it."""
    from flows.starter import write_starter

    found = write_starter(folder, out)

    def render(console: Console) -> None:
        say(console, f"{folder.resolve().name}: {found.found}")
        for note in found.notes:
            say(console, f"note: {note}", "yellow")
        say(console, f"wrote {out}. Look at it, then run:  puriflow plan {out}")

    emit({"document": str(out.absolute()), "found": found.found, "notes": found.notes}, as_json, render)
