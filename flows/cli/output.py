"""Where a command writes: results to stdout, everything else to stderr; with `--json` one object and nothing else."""

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

WIDE = 200  # columns of a table or a log: a narrow terminal breaks lines itself, and keys and words stay whole


def results() -> Console:
    """Open stdout."""
    return Console(highlight=False, width=WIDE)


def errors() -> Console:
    """Open stderr."""
    return Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else WIDE)


def emit(record: Mapping[str, Any], as_json: bool, render: Callable[[Console], None]) -> None:
    """Give the result of a command, for a program or for a person."""
    if as_json:
        print(json.dumps(record, ensure_ascii=False, allow_nan=False))  # noqa: T201 (the result)
    else:
        render(results())


def say(console: Console, text: str, style: str = "") -> None:
    """Print one line as it is: never wrapped, so that paths can be copied, and without markup."""
    console.print(text, style=style, markup=False, soft_wrap=True)


def plain_table(*headings: str, right: tuple[str, ...] = ()) -> Table:
    """Start a table without frames; the columns in `right` hold numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left", overflow="fold")
    return table
