"""What a run would do, before it does it: which artifacts are there and which stages will run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flows.document import CleanRequest
from flows.recipe import StageOutcome, clean, stages_of
from flows.run import lookup_for
from pipeline.artifacts import Ref
from pipeline.config import StageConfig
from pipeline.store import Store


@dataclass(frozen=True)
class PlannedStage:
    """One stage of a plan: `cached`, `run`, or `later` (its key is known only after the one before)."""

    stage: str
    state: str
    key: str


class _FirstMissError(Exception):
    """The first stage that will run is found."""


def plan_clean(request: CleanRequest, store: Store, folder: Path | None = None) -> list[PlannedStage]:
    """Go through the recipe as far as artifacts are there; write the first missing stage's request into a folder."""
    lookup = lookup_for(store, request.dataset.name)
    planned: list[PlannedStage] = []

    def look(stage: str, config: StageConfig, inputs: Mapping[str, Ref]) -> StageOutcome:
        inputs = lookup.inputs_of(config, inputs)
        key, found = lookup.find(stage, config, inputs)
        planned.append(PlannedStage(stage, "cached" if found else "run", key))
        if found is None:
            if folder is not None:
                told = lookup.request(stage, key, config, inputs)
                told.model_copy(update={"work": str(folder.absolute())}).save(folder / f"{stage}.json")
            raise _FirstMissError
        return StageOutcome(stage, found, True, 0.0)

    try:
        clean(request, look)
    except _FirstMissError:
        known = {p.stage for p in planned}
        planned += [PlannedStage(s, "later", "") for s in stages_of(request) if s not in known]
    return planned
