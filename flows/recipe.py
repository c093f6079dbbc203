"""The recipe: the order of the stages and what each one takes. No Prefect, no torch; `run_stage` does the look-ups."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flows.document import CleanRequest
from pipeline.artifacts import Artifact, Ref
from pipeline.config import StageConfig


@dataclass(frozen=True)
class StageOutcome:
    """The artifact of one stage, and whether it had to be made."""

    stage: str
    artifact: Artifact
    cached: bool
    seconds: float


RunStage = Callable[[str, StageConfig, Mapping[str, Ref]], StageOutcome]


def stages_of(request: CleanRequest) -> list[str]:
    """Name the stages that a request goes through, in order."""
    represent = [] if request.dataset.kind == "features" else ["represent"]
    retrain = ["retrain"] if request.retrain.enabled else []
    return ["ingest", *represent, "embed", "purify", *retrain, "report"]


def clean(request: CleanRequest, run_stage: RunStage) -> dict[str, StageOutcome]:
    """Bring in the data, learn features, purify the labels, train on them, and show what was done."""
    done: dict[str, StageOutcome] = {}

    def run(stage: str, config: StageConfig, inputs: Mapping[str, Ref]) -> Artifact:
        done[stage] = run_stage(stage, config, inputs)
        return done[stage].artifact

    dataset = run("ingest", request.dataset, {})
    data, trusted = dataset.manifest.inputs, int(dataset.metrics.get("trusted", 1))
    request.purify.refuse_without(trusted, f"dataset '{request.dataset.name}' has 0 trusted rows")
    annotations = {"annotations": data["annotations"]}
    if "images" in data:
        pictures = {"images": data["images"]}
        encoder = {"encoder": run("represent", request.represent, pictures).ref}
        near = run("embed", request.embed, {**pictures, **encoder})
    else:
        pictures, encoder = {}, {}
        near = run("embed", request.embed, {"features": data["features"]})
    space = {"features": near.manifest.inputs["features"], "neighbours": near.ref}

    labels = {"labels": run("purify", request.purify, {**annotations, **space}).ref}
    model = {}
    if request.retrain.enabled:
        material = {**pictures, **encoder} if pictures else {"features": space["features"]}
        model = {"model": run("retrain", request.retrain, {**annotations, **labels, **material}).ref}
    report = request.report.model_copy(update={"title": request.report.title or request.title})
    run("report", report, {**annotations, **labels, **space, **pictures, **model})
    return done
