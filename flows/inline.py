"""Inline mode: the recipe on this machine, stages as child processes, no server and no call to Prefect."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.catalogue import STAGES
from flows.child import Children
from flows.compare import Cell, Figure, compare
from flows.document import CleanRequest
from flows.outcome import CleanResult
from flows.recipe import stages_of
from flows.run import Around, Observer, Wanted, recorded_stages, run_recipe, written_down
from pipeline.artifacts import Artifact
from pipeline.errors import StageFailedError
from pipeline.requests import Resources
from pipeline.store import Store


@dataclass(frozen=True)
class ChildProcesses:
    """Make artifacts on this machine, each in a child process."""

    children: Children
    work: Path
    observer: Observer
    resources: Resources

    def __call__(self, wanted: Wanted) -> Artifact:
        """Compute one artifact in a child process."""
        stage, lookup = wanted.stage, wanted.lookup
        data = wanted.record.artifacts.get("ingest")
        processes = STAGES[stage].processes(wanted.config.chosen_method(), self.resources.processes)
        resources = self.resources.model_copy(update={"processes": processes})
        work = self.work / stage
        work.mkdir(parents=True, exist_ok=True)
        request = lookup.request(stage, wanted.key, wanted.config, wanted.inputs, data.ref if data else None)
        request = request.model_copy(update={"work": str(work), "resources": resources})
        self.children.run(request, lambda line: self.observer.progress(stage, line))
        artifact = lookup.store.find(request.kind, wanted.key)
        if artifact is None:
            raise StageFailedError(f"{stage} ended well but published nothing.", "Please report this.")
        return artifact


def run_clean(
    request: CleanRequest, store: Store, observer: Observer, resources: Resources, around: Around | None = None
) -> CleanResult:
    """Clean a dataset on this machine; `around` may wrap every stage."""
    children = Children()
    with store.work("run") as work, children.listening():
        make = ChildProcesses(children, work, observer, resources)
        return run_recipe(request, store, observer, make, around)


def run_compare(
    request: CleanRequest, grid: Sequence[Cell], store: Store, observer: Observer, resources: Resources
) -> list[Figure]:
    """Train every cell of a grid on this machine; the record of the run keeps all their models."""
    children = Children()
    before = len(stages_of(request)) - 1 - request.retrain.enabled  # neither report nor the document's own model
    with store.work("run") as work, children.listening():
        make = ChildProcesses(children, work, observer, resources)
        stages = recorded_stages(request, store, observer, make, before + len(grid))
        with written_down(stages):
            return compare(request, grid, stages, stages.note)
