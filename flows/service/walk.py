"""One stage alone: the recipe up to that stage, everything before it taken from the store."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from flows.catalogue import STAGES
from flows.document import CleanRequest, check_document
from flows.lookup import Lookup
from flows.recipe import RunStage, StageOutcome, clean, stages_of
from flows.run import RecordedStages, lookup_for
from flows.service.form import filled_in
from flows.service.roots import check_paths
from flows.service.surroundings import Surroundings
from pipeline.artifacts import Ref
from pipeline.config import StageConfig
from pipeline.errors import ConfigError, MissingArtifactError
from pipeline.store import Store
from pipeline.store.runs import RunRecord, find_run


class _ReachedError(Exception):
    """The stage that was asked for is done."""


@dataclass
class UpTo:
    """Run one stage of the recipe; bring what earlier ones made from the store."""

    stage: str
    run_stage: RecordedStages
    run: RunRecord | None = None
    outcome: StageOutcome | None = None

    def __call__(self, stage: str, config: StageConfig, inputs: Mapping[str, Ref]) -> StageOutcome:
        """Look an earlier stage up, or run the one that is wanted and stop there."""
        if stage == self.stage:
            self.outcome = self.run_stage(stage, config, inputs)
            raise _ReachedError
        lookup = self.run_stage.lookup
        known = self.run.artifacts.get(stage) if self.run else None
        found = lookup.store.get(known.ref) if known else self.look(lookup, stage, config, inputs)
        outcome = StageOutcome(stage, found, True, 0.0)
        if known is None:
            self.run_stage.note(outcome)
        return outcome

    def look(self, lookup: Lookup, stage: str, config: StageConfig, inputs: Mapping[str, Ref]) -> Any:
        """Find what an earlier stage made for this document."""
        key, found = lookup.find(stage, config, lookup.inputs_of(config, inputs))
        if found is None:
            raise MissingArtifactError(
                f"{self.stage} needs what {stage} makes ({STAGES[stage].kind}/{key}), and store {lookup.store.url} "
                "has no such artifact.",
                f"Run {stage} on this document first, or clean-dataset, which runs all of them.",
            )
        return found


def run_one(stage: str, request: CleanRequest, stages: RecordedStages, run: RunRecord | None) -> StageOutcome:
    """Run one stage of a request."""
    if stage == "retrain":
        request = request.model_copy(update={"retrain": request.retrain.model_copy(update={"enabled": True})})
    if stage not in stages_of(request):
        kind = request.dataset.kind
        raise ConfigError(f"a dataset of kind {kind} has no stage {stage}.", "Its features are there already.")
    target = UpTo(stage, stages, run)
    run_stage: RunStage = target
    with suppress(_ReachedError):
        clean(request, run_stage)
    assert target.outcome is not None
    return target.outcome


def asked(document: Mapping[str, Any], surroundings: Surroundings) -> CleanRequest:
    """Check what a form says, down to the files that it names, before anything costs time."""
    request = check_document(filled_in(document), "the form").resolved(surroundings.root)
    check_paths(request, surroundings.roots)
    return request


def named_run(store: Store, run: str) -> RunRecord | None:
    """Find the run that a form names."""
    record = find_run(store, run) if run else None
    if run and record is None:
        raise ConfigError(f"store {store.url} has no run '{run}'.", "Take its id from the summary of a run.")
    return record


def lookup_of(store: Store, request: CleanRequest, run: RunRecord | None) -> Lookup:
    """Know the same earlier artifacts as the run that a stage works for."""
    return lookup_for(store, request.dataset.name, run.started if run else "")
