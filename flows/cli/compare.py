"""`puriflow compare`: methods and kinds of labels side by side, through the cache."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from flows.cli.options import AsJson, CacheGib, Device, Document, Profile, Settings, StoreUrl, Workers, opened
from flows.cli.output import emit, errors, say

if TYPE_CHECKING:
    from flows.compare import Figure

EXAMPLE = "puriflow compare clean.yaml --methods cross_entropy,elr --labels given,purified --seeds 3"


def command(
    document: Document,
    methods: Annotated[str, typer.Option("--methods", metavar="A,B,…", help="Methods of retrain to compare")],
    labels: Annotated[
        str, typer.Option("--labels", metavar="A,B", help="Labels to train on: given, purified")
    ] = "given,purified",
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, max=100, help="How often to train each, with other seeds")
    ] = 3,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Where tables and plot go", show_default="compare")
    ] = None,
    store: StoreUrl = "",
    settings: Settings = None,
    profile: Profile = "",
    device: Device = "auto",
    workers: Workers = 0,
    cache_gib: CacheGib = None,
    as_json: AsJson = False,
) -> None:
    """Compare training methods, each on given and on purified labels.

    The labels are purified once; models that are in the store already are not trained again.
    """
    from flows.compare import grid_of
    from flows.comparison import write_comparison
    from flows.document import load_document
    from flows.inline import run_compare
    from flows.terminal import choose_view
    from pipeline.requests import Resources

    request = load_document(document, settings or [], profile)
    grid = grid_of(split(methods), split(labels), seeds, request.retrain.seed)
    resources = Resources(device=device, workers=workers, cache_gib=cache_gib)
    with choose_view(errors(), quiet=as_json) as view:
        figures = run_compare(request, grid, opened(store, document.absolute().parent), view, resources)
    folder = out or document.absolute().parent / "compare"
    files = write_comparison(folder, request.title or request.dataset.name, figures)
    record = {"dataset": request.dataset.name, "lines": lines(figures), "files": files}
    emit(record, as_json, lambda console: render(console, figures, files))


def split(text: str) -> list[str]:
    """Take a list of names apart."""
    return [name.strip() for name in text.split(",") if name.strip()]


def lines(figures: "list[Figure]") -> list[dict[str, object]]:
    """Sum up over the seeds."""
    from flows.compare import lines_of

    return [line.to_dict() for line in lines_of(figures)]


def render(console: Console, figures: "list[Figure]", files: dict[str, str]) -> None:
    """Show the table, and where everything lies."""
    from flows.cli.results import render_facts, render_rows
    from flows.compare import lines_of
    from flows.comparison import cell, heading
    from flows.quantities import duration

    rows = [[x.method, x.labels, cell(x), duration(x.seconds)] for x in lines_of(figures)]
    render_rows(console, ["method", "labels", "accuracy", "training"], rows, right=("accuracy", "training"))
    say(console, f"{heading(figures)}, in per cent\n", "dim")
    render_facts(console, {"table": files["compare.md"], "plot": files["compare.png"]})
