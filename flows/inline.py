"""Inline mode: the recipe on this machine, stages as child processes, no server and no call to Prefect."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from flows.catalogue import STAGES
from flows.child import Children
from flows.document import CleanRequest
from flows.lookup import Lookup
from flows.outcome import CleanResult, describe
from flows.recipe import RunStage, StageOutcome, clean, stages_of
from pipeline.artifacts import Artifact, Ref
from pipeline.config import StageConfig
from pipeline.errors import InterruptedRunError, PuriflowError, StageFailedError
from pipeline.progress import ProgressLine
from pipeline.requests import Resources
from pipeline.store import Store
from pipeline.store.published import publish_labels
from pipeline.store.runs import RunArtifact, RunRecord, State, begin_run, newest_run, save_run

Around = Callable[[RunStage], RunStage]


class Observer(Protocol):
    """Whoever watches a run: the terminal, a test, a flow."""

    def started(self, stage: str, total_stages: int) -> None:
        """Hear that a stage is looked up or begins."""

    def progress(self, stage: str, line: ProgressLine) -> None:
        """Hear how far a stage is."""

    def finished(self, outcome: StageOutcome) -> None:
        """Hear that the artifact of a stage is there."""


@dataclass
class InlineStages:
    """Run stages for a recipe: look the artifact up, else make it in a child process."""

    store: Store
    lookup: Lookup
    work: Path
    children: Children
    observer: Observer
    resources: Resources
    record: RunRecord
    total: int

    def __call__(self, stage: str, config: StageConfig, inputs: Mapping[str, Ref]) -> StageOutcome:
        """Bring the artifact of one stage."""
        self.observer.started(stage, self.total)
        started = time.monotonic()
        inputs = self.lookup.inputs_of(config, inputs)
        key, found = self.lookup.find(stage, config, inputs)
        artifact = found or self.make(stage, key, config, inputs)
        outcome = StageOutcome(stage, artifact, found is not None, time.monotonic() - started)
        self.record = self.record.with_artifact(
            stage, RunArtifact(ref=artifact.ref, cached=outcome.cached, seconds=round(outcome.seconds, 3))
        )
        save_run(self.store, self.record)
        self.observer.finished(outcome)
        return outcome

    def make(self, stage: str, key: str, config: StageConfig, inputs: Mapping[str, Ref]) -> Artifact:
        """Compute one artifact in a child process."""
        data = self.record.artifacts.get("ingest")
        processes = self.resources.processes if STAGES[stage].shared else 1
        resources = self.resources.model_copy(update={"processes": processes})
        work = self.work / stage
        work.mkdir(parents=True, exist_ok=True)
        request = self.lookup.request(stage, key, config, inputs, data.ref if data else None)
        request = request.model_copy(update={"work": str(work), "resources": resources})
        self.children.run(request, lambda line: self.observer.progress(stage, line))
        artifact = self.store.find(request.kind, key)
        if artifact is None:
            raise StageFailedError(f"{stage} ended well but published nothing.", "Please report this.")
        return artifact


def run_clean(
    request: CleanRequest, store: Store, observer: Observer, resources: Resources, around: Around | None = None
) -> CleanResult:
    """Clean a dataset on this machine; `around` may wrap every stage, as a Prefect task does."""
    started = time.monotonic()
    name = request.dataset.name
    lookup = lookup_for(store, name)
    record = begin_run(store, name, request.title, request.model_dump(mode="json"))
    children = Children()
    with store.work("run") as work, children.listening():
        stages = InlineStages(store, lookup, work, children, observer, resources, record, len(stages_of(request)))
        try:
            run_stage = around(stages) if around else stages
            result = describe(record.id, clean(request, run_stage), time.monotonic() - started)
            if request.publish.enabled:
                labels = stages.record.artifacts["purify"].ref
                version = publish_labels(store, name, labels, force=request.publish.force, run=record.id)
                result = replace(result, published=version.model_dump(mode="json"))
        except PuriflowError as error:
            state: State = "interrupted" if isinstance(error, InterruptedRunError) else "failed"
            with suppress(PuriflowError):  # what went wrong first is what the user must hear
                save_run(store, stages.record.ended(state, error.to_dict()))
            raise
        save_run(store, stages.record.ended("completed"))
    return result


def lookup_for(store: Store, dataset: str) -> Lookup:
    """Know the artifacts of the dataset's last completed run."""
    last = newest_run(store, dataset, "completed")
    return Lookup(store, {stage: made.ref for stage, made in last.artifacts.items()} if last else {})
