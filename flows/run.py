"""One run of the recipe with its record in the store: look up, else let a maker make it; then publish if asked to."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Protocol

from flows.document import CleanRequest
from flows.lookup import Lookup
from flows.outcome import CleanResult, describe
from flows.recipe import RunStage, StageOutcome, clean, stages_of
from pipeline.artifacts import Artifact, Ref
from pipeline.config import StageConfig
from pipeline.errors import InterruptedRunError, PuriflowError
from pipeline.progress import ProgressLine
from pipeline.store import Store
from pipeline.store.published import publish_news
from pipeline.store.runs import RunArtifact, RunRecord, State, begin_run, list_runs, save_run

Around = Callable[[RunStage], RunStage]


class Observer(Protocol):
    """Whoever watches a run: the terminal, a test, a flow."""

    def started(self, stage: str, total_stages: int) -> None:
        """Hear that a stage is looked up or begins."""

    def progress(self, stage: str, line: ProgressLine) -> None:
        """Hear how far a stage is."""

    def finished(self, outcome: StageOutcome) -> None:
        """Hear that the artifact of a stage is there."""


@dataclass(frozen=True)
class Wanted:
    """An artifact that is not in the store yet, and the run that wants it."""

    stage: str
    key: str
    config: StageConfig
    inputs: Mapping[str, Ref]
    lookup: Lookup
    record: RunRecord


Make = Callable[[Wanted], Artifact]


@dataclass
class RecordedStages:
    """Run stages for a recipe: look the artifact up, else have it made; note it in the record of the run."""

    lookup: Lookup
    record: RunRecord
    make: Make
    observer: Observer
    total: int

    def __call__(self, stage: str, config: StageConfig, inputs: Mapping[str, Ref]) -> StageOutcome:
        """Bring the artifact of one stage."""
        self.observer.started(stage, self.total)
        started = time.monotonic()
        inputs = self.lookup.inputs_of(config, inputs)
        key, found = self.lookup.find(stage, config, inputs)
        artifact = found or self.make(Wanted(stage, key, config, inputs, self.lookup, self.record))
        outcome = StageOutcome(stage, artifact, found is not None, time.monotonic() - started)
        self.note(outcome)
        self.observer.finished(outcome)
        return outcome

    def note(self, outcome: StageOutcome) -> None:
        """Write into the record of the run what a stage brought."""
        brought = RunArtifact(ref=outcome.artifact.ref, cached=outcome.cached, seconds=round(outcome.seconds, 3))
        self.record = self.record.with_artifact(outcome.stage, brought)
        save_run(self.lookup.store, self.record)


def run_recipe(
    request: CleanRequest, store: Store, observer: Observer, make: Make, around: Around | None = None
) -> CleanResult:
    """Clean a dataset, whoever makes the artifacts; `around` may wrap every stage."""
    started = time.monotonic()
    name = request.dataset.name
    stages = recorded_stages(request, store, observer, make, len(stages_of(request)))
    with written_down(stages):
        run_stage = around(stages) if around else stages
        result = describe(stages.record.id, clean(request, run_stage), time.monotonic() - started)
        if request.publish.enabled:
            labels = stages.record.artifacts["purify"].ref
            version = publish_news(store, name, labels, force=request.publish.force, run=stages.record.id)
            result = replace(result, published=version.model_dump(mode="json"))
    return result


def recorded_stages(request: CleanRequest, store: Store, observer: Observer, make: Make, total: int) -> RecordedStages:
    """Begin the record of a run, and give what runs its stages."""
    name = request.dataset.name
    lookup = lookup_for(store, name)
    record = begin_run(store, name, request.title, request.model_dump(mode="json"))
    return RecordedStages(lookup, record, make, observer, total)


@contextmanager
def written_down(stages: RecordedStages) -> Iterator[None]:
    """Write down how a run ends."""
    store = stages.lookup.store
    try:
        yield
    except PuriflowError as error:
        state: State = "interrupted" if isinstance(error, InterruptedRunError) else "failed"
        with suppress(PuriflowError):  # what went wrong first is what the user must hear
            save_run(store, stages.record.ended(state, error.to_dict()))
        raise
    save_run(store, stages.record.ended("completed"))


def lookup_for(store: Store, dataset: str, before: str = "") -> Lookup:
    """Know the artifacts of the dataset's last completed run, or of the last one that had ended at a time."""
    completed = (r for r in list_runs(store, dataset) if r.state == "completed" and (not before or r.finished < before))
    last = next(completed, None)
    return Lookup(store, {stage: made.ref for stage, made in last.artifacts.items()} if last else {})
