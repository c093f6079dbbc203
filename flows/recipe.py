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


@dataclass(frozen=True)
class Prepared:
    """What is there once the labels are purified: the inputs of all that follows."""

    rows: Mapping[str, Ref]  # annotations and labels
    space: Mapping[str, Ref]  # features and neighbours
    pictures: Mapping[str, Ref]  # images, where there are any
    encoder: Mapping[str, Ref]

    def lessons(self) -> dict[str, Ref]:
        """Return what a model is trained on."""
        material = {**self.pictures, **self.encoder} if self.pictures else {"features": self.space["features"]}
        return {**self.rows, **material}


def prepare(request: CleanRequest, run_stage: RunStage) -> Prepared:
    """Bring in the data, learn features, and purify the labels."""

    def run(stage: str, config: StageConfig, inputs: Mapping[str, Ref]) -> Artifact:
        return run_stage(stage, config, inputs).artifact

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
    return Prepared({**annotations, **labels}, space, pictures, encoder)


def clean(request: CleanRequest, run_stage: RunStage) -> dict[str, StageOutcome]:
    """Purify the labels, train on them, and show what was done."""
    done: dict[str, StageOutcome] = {}

    def run(stage: str, config: StageConfig, inputs: Mapping[str, Ref]) -> StageOutcome:
        done[stage] = run_stage(stage, config, inputs)
        return done[stage]

    ready = prepare(request, run)
    model = {}
    if request.retrain.enabled:
        model = {"model": run("retrain", request.retrain, ready.lessons()).artifact.ref}
    report = request.report.model_copy(update={"title": request.report.title or request.title})
    run("report", report, {**ready.rows, **ready.space, **ready.pictures, **model})
    return done
