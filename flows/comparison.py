"""What a comparison leaves in a folder: a table for people, two for programs, and a plot."""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from flows.compare import Figure, Line, lines_of
from flows.quantities import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"given": "#b8481f", "purified": "#2c6e7f"}
TABLE, RECORD, CELLS, PLOT = "compare.md", "compare.json", "compare.parquet", "compare.png"


def write_comparison(folder: Path, title: str, figures: Sequence[Figure]) -> dict[str, str]:
    """Write all of it; return the paths."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    lines = lines_of(figures)
    record = {"title": title, "lines": [line.to_dict() for line in lines], "cells": [asdict(f) for f in figures]}
    (folder / TABLE).write_text(markdown(title, figures), encoding="utf-8")
    (folder / RECORD).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(record["cells"]), folder / CELLS)
    draw(folder / PLOT, lines, heading(figures))
    return {name: str(folder / name) for name in (TABLE, RECORD, CELLS, PLOT)}


def heading(figures: Sequence[Figure]) -> str:
    """Say what was measured on what."""
    one = figures[0]
    return f"accuracy on {count(one.rows)} {one.split} rows, judged by {one.scored_on} labels"


def markdown(title: str, figures: Sequence[Figure]) -> str:
    """Write the table: a row for each method, mean ± standard deviation over the seeds for each kind of labels."""
    lines = lines_of(figures)
    kinds, methods = dict.fromkeys(x.labels for x in lines), dict.fromkeys(x.method for x in lines)
    found = {(line.method, line.labels): line for line in lines}
    rows = [[f"`{method}`", *(cell(found[method, kind]) for kind in kinds)] for method in methods]
    seeds = max(line.seeds for line in lines)
    head = ["method", *(f"{kind} labels" for kind in kinds)]
    table = "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])
    told = f"mean ± standard deviation of {seeds} seeds" if seeds > 1 else "one seed"
    note = f"{heading(figures)[0].upper()}{heading(figures)[1:]}, in per cent: {told}"
    return f"# {title}\n\n{note} of the training (the same labels and features).\n\n{table}\n"


def cell(line: Line) -> str:
    """Write a mean with its spread, in per cent."""
    mean = f"{100 * line.mean:.1f}"
    return f"{mean} ± {100 * line.spread:.1f}" if line.seeds > 1 else mean


def draw(file: Path | io.BytesIO, lines: Sequence[Line], label: str) -> None:
    """Draw mean ± spread, a row for each method, a colour for each kind of labels."""
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(7, 1.2 + 0.45 * len({line.method for line in lines})))
    draw_on(picture.add_subplot(), lines, label)
    picture.savefig(file, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})


def draw_on(axes: "Axes", lines: Sequence[Line], label: str) -> None:
    """Draw one comparison."""
    methods = list(dict.fromkeys(line.method for line in lines))
    kinds = list(dict.fromkeys(line.labels for line in lines))
    for number, kind in enumerate(kinds):
        some = [line for line in lines if line.labels == kind]
        shift = 0.16 * (number - (len(kinds) - 1) / 2)
        axes.errorbar(
            [100 * line.mean for line in some], [methods.index(line.method) + shift for line in some],
            xerr=[100 * line.spread for line in some], fmt="o", color=COLOURS[kind], capsize=3, label=f"{kind} labels",
        )  # fmt: skip
    axes.set_yticks(range(len(methods)), methods)
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.set_xlabel(f"{label} (%)")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(kinds))
