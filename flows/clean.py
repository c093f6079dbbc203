"""The recipe as a Prefect flow: every stage a run of its own deployment, with its own machine, log and state."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.recipe import stages_of
from flows.run import run_recipe
from flows.service.child_runs import ChildRuns
from flows.service.endings import ended
from flows.service.events import tell_published
from flows.service.form import clean_form, filled_in
from flows.service.naming import run_name
from flows.service.summary import show_summary
from flows.service.surroundings import confined
from flows.service.walk import asked
from flows.service.watching import RecipeView

Section = dict[str, Any] | None


@flow(
    name="clean-dataset",
    description="Clean a dataset: purified labels, a model trained on them, a report. What is there already is kept.",
    flow_run_name=run_name,
    persist_result=False,
    validate_parameters=False,  # our own check says every fault in a line of its own
)
def clean_dataset(  # noqa: PLR0913 (the sections of the document are the boxes of the form)
    dataset: Section,
    title: str = "",
    represent: Section = None,
    embed: Section = None,
    purify: Section = None,
    retrain: Section = None,
    report: Section = None,
    publish: Section = None,
    seed: int = 0,
) -> State[Any]:
    """Clean a dataset: ingest, learn features, purify the labels, retrain and report."""
    document = {
        "dataset": dataset, "title": title, "represent": represent, "embed": embed, "purify": purify,
        "retrain": retrain, "report": report, "publish": publish, "seed": seed,
    }  # fmt: skip
    return ended(lambda: run_clean(document))


def run_clean(document: dict[str, Any]) -> State[Any]:
    """Check what was asked, go through the recipe, show and tell what came out."""
    surroundings = confined()
    request = asked(document, surroundings)
    store = surroundings.open_store()
    view = RecipeView(request.dataset.name, stages_of(request))
    make = ChildRuns(filled_in(document), request.dataset.name, view.child)
    result = run_recipe(request, store, view, make)
    tell_published(result, store)
    return Completed(name="Cached" if result.cached else "Completed", message=show_summary(result, store))


clean_dataset.parameters = type(clean_dataset.parameters).model_validate(clean_form())
