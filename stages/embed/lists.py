"""Fill the lists of neighbours: by comparing all rows, by going on from an earlier table, or cell by cell."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from pipeline.neighbours import INDEX_FILE, Floats, Indices
from stages.embed.approximate import cells_needed, search_cells, true_neighbours
from stages.embed.cells import build_cells
from stages.embed.config import GPU_TIMES, EmbedConfig
from stages.embed.directions import Directions
from stages.embed.growth import Earlier, search_onward
from stages.embed.index import write_cells, write_flat
from stages.embed.search import Found, Tasks, search
from stages.shell import Context


class Lists(NamedTuple):
    """The tables of the artifact, with one row for each row of the dataset; `width` columns can be filled."""

    indices: Indices
    similarity: Floats
    width: int

    def fill(self, found: Iterable[Found], directions: Directions, context: Context) -> None:
        """Write what a search finds."""
        done, rows = 0, directions.rows
        for part in found:
            self.indices[rows[part.rows], : self.width] = rows[part.indices]
            self.similarity[rows[part.rows], : self.width] = np.clip(part.similarity, -1.0, 1.0)
            done += len(part.rows)
            context.progress.report("neighbours", done, len(rows), "rows")
            context.stop.check()


def is_exact(config: EmbedConfig, rows: int, tasks: Tasks) -> bool:
    """Tell whether every row is compared with every other."""
    return rows <= config.exact_rows * (1 if tasks.device.type == "cpu" else GPU_TIMES)


def fill_exactly(
    lists: Lists, directions: Directions, context: Context, tasks: Tasks, earlier: Earlier | None
) -> dict[str, Any]:
    """Fill the lists with the true neighbours; say how many rows an earlier table saved."""
    base = directions.all(tasks.device)
    if earlier is None:
        found, kept = search(base, np.arange(len(base)), lists.width, tasks), 0
    else:
        found, kept = search_onward(earlier, base, lists.width, tasks), int((earlier.was >= 0).sum())
    lists.fill(found, directions, context)
    if context.request.config.get("index"):
        write_flat(directions, context.folder / INDEX_FILE)
    return {"search": "exact", "recall": 1.0, "kept": kept}


def fill_by_cells(
    config: EmbedConfig, lists: Lists, directions: Directions, context: Context, tasks: Tasks
) -> dict[str, Any]:
    """Fill the lists with neighbours from the nearest cells; measure their recall."""
    context.progress.report("cells", 0, 1)
    cells = build_cells(directions, context.request.work_folder, tasks)
    context.stop.check()
    truth = true_neighbours(directions, lists.width, tasks)
    context.progress.report("cells", 1, 1)
    probes = cells_needed(cells, directions, truth, config.recall)
    lists.fill(search_cells(cells, lists.width, probes, tasks), directions, context)
    sampled = lists.indices[directions.rows[truth.rows], : lists.width]
    recall = truth._replace(indices=directions.rows[truth.indices]).recall(sampled)
    context.progress.report("neighbours", len(directions), len(directions), "rows", {"recall": recall})
    if config.index:
        write_cells(cells, directions, probes, context.folder / INDEX_FILE)
    return {"search": "cells", "recall": round(recall, 4), "cells": len(cells), "probes": probes, "kept": 0}
