"""Every stage as a flow of its own: run alone on a document, or by `clean-dataset` as a part of the recipe."""

from typing import Any

from prefect import Flow, flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.inline import ChildProcesses
from flows.run import RecordedStages
from flows.service.endings import ended
from flows.service.form import filled_in, stage_form
from flows.service.naming import run_name
from flows.service.programs import StagePrograms
from flows.service.surroundings import confined
from flows.service.walk import asked, lookup_of, named_run, run_one
from flows.service.watching import StageView
from pipeline.store.runs import begin_run, save_run

Section = dict[str, Any] | None


def run_stage(stage: str, document: dict[str, Any], run: str) -> State[Any]:
    """Run one stage: check what was asked, look the artifact up, else make it in a child process."""
    surroundings = confined()
    store = surroundings.open_store()
    earlier = named_run(store, run)
    document = filled_in(document)
    request = asked(document if "dataset" in document or not earlier else earlier.document, surroundings)
    name = request.dataset.name
    record = earlier or begin_run(store, name, request.title, request.model_dump(mode="json"))
    view, children = StageView(stage, name), StagePrograms()
    with store.work("stage") as work, children.listening():
        make = ChildProcesses(children, work, view, surroundings.resources)
        stages = RecordedStages(lookup_of(store, request, earlier), record, make, view, 1)
        try:
            outcome = run_one(stage, request, stages, earlier)
        finally:
            if earlier is None:  # no run of the recipe: later ones must not take it for one
                told: dict[str, str | int] = {"code": "one_stage", "message": f"only {stage} was asked for"}
                save_run(store, stages.record.ended("interrupted", told))
    message = f"{outcome.artifact.ref} · run {record.id}"
    return Completed(name="Cached" if outcome.cached else "Completed", message=message)


def stage_flow(stage: str, does: str) -> Flow[..., Any]:
    """Make the flow of one stage; all take the same document."""

    @flow(name=stage, description=does, flow_run_name=run_name, persist_result=False, validate_parameters=False)
    def one_stage(  # noqa: PLR0913 (the sections of the document are the boxes of the form)
        dataset: Section = None,
        title: str = "",
        represent: Section = None,
        embed: Section = None,
        purify: Section = None,
        retrain: Section = None,
        report: Section = None,
        publish: Section = None,
        seed: int = 0,
        run: str = "",
    ) -> State[Any]:
        document = {
            "dataset": dataset, "title": title, "represent": represent, "embed": embed, "purify": purify,
            "retrain": retrain, "report": report, "publish": publish, "seed": seed,
        }  # fmt: skip
        return ended(lambda: run_stage(stage, document, run))

    one_stage.parameters = type(one_stage.parameters).model_validate(stage_form())
    return one_stage


ingest = stage_flow("ingest", "Bring a dataset in: every image decoded once, every label checked.")
represent = stage_flow("represent", "Learn an encoder from the images alone, or take one from a file.")
embed = stage_flow("embed", "Turn every sample into a vector; find neighbours, strangers, duplicates.")
purify = stage_flow("purify", "Correct the labels, judge the result on trusted rows, open or close the gate.")
retrain = stage_flow("retrain", "Train the model to deploy on the purified labels.")
report = stage_flow("report", "Write the page that shows what was found and changed.")
