"""The comparison of methods as a flow: the labels purified once, then a run of retrain for each cell of the grid."""

import io
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.compare import Figure, compare, grid_of, lines_of
from flows.comparison import draw, heading, markdown
from flows.document import CleanRequest
from flows.recipe import stages_of
from flows.run import Wanted, recorded_stages, written_down
from flows.service.child_runs import ChildRuns
from flows.service.endings import ended
from flows.service.form import GRID, compare_form, filled_in
from flows.service.naming import artifact_name, run_name
from flows.service.showing import Shown, show_picture
from flows.service.surroundings import confined
from flows.service.walk import asked
from flows.service.watching import RecipeView
from pipeline.artifacts import Artifact

Section = dict[str, Any] | None


@flow(
    name="compare-methods",
    description="Train methods side by side, each on given and on purified labels; what is there already is kept.",
    flow_run_name=run_name,
    persist_result=False,
    validate_parameters=False,
)
def compare_methods(  # noqa: PLR0913 (the sections of the document are the boxes of the form)
    dataset: Section,
    methods: list[str] | None = None,
    labels: list[str] | None = None,
    seeds: int = GRID["seeds"]["default"],
    title: str = "",
    represent: Section = None,
    embed: Section = None,
    purify: Section = None,
    retrain: Section = None,
    seed: int = 0,
) -> State[Any]:
    """Purify the labels of a dataset once, and train every method on every kind of labels."""
    document = {
        "dataset": dataset, "title": title, "represent": represent, "embed": embed, "purify": purify,
        "retrain": retrain, "seed": seed,
    }  # fmt: skip
    grid = (methods or GRID["methods"]["default"], labels or GRID["labels"]["default"], seeds)
    return ended(lambda: run_grid(document, *grid))


def run_grid(document: dict[str, Any], methods: list[str], labels: list[str], seeds: int) -> State[Any]:
    """Check what was asked, train every cell, show the table."""
    surroundings = confined()
    request = asked(document, surroundings)
    grid = grid_of(methods, labels, seeds, request.retrain.seed)
    name = request.dataset.name
    shown = [stage for stage in stages_of(request) if stage not in ("retrain", "report")]
    view = RecipeView(name, [*shown, "retrain"])

    def make(wanted: Wanted) -> Artifact:
        return ChildRuns(told(filled_in(document), wanted), name, view.child)(wanted)

    stages = recorded_stages(request, surroundings.open_store(), view, make, len(shown) + len(grid))
    with written_down(stages):
        figures = compare(request, grid, stages, stages.note)
    return Completed(message=show_comparison(request, figures))


def told(document: dict[str, Any], wanted: Wanted) -> dict[str, Any]:
    """Write the document for the run of a stage: that of retrain knows its cell."""
    if wanted.stage != "retrain":
        return document
    cell = wanted.config.model_dump(mode="json", include={"enabled", "method", "labels", "seed"})
    return {**document, "retrain": {**document.get("retrain", {}), **cell}}


def show_comparison(request: CleanRequest, figures: list[Figure]) -> str:
    """Show the table and its plot; return the best line."""
    name, plot = request.dataset.name, io.BytesIO()
    page = markdown(request.title or name, figures)
    Shown(artifact_name(name, "comparison"), f"Methods side by side on {name}").show(page)
    draw(plot, lines_of(figures), heading(figures))
    show_picture(artifact_name(name, "comparison", "plot"), plot.getvalue(), f"Methods side by side on {name}")
    best = max(lines_of(figures), key=lambda line: line.mean)
    return f"best: {best.method} on {best.labels} labels, {100 * best.mean:.1f} %"


compare_methods.parameters = type(compare_methods.parameters).model_validate(compare_form())
