"""What a planned stage will cost, guessed from what the same stage cost before."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from flows.catalogue import STAGES
from flows.plan import PlannedStage
from pipeline.artifacts import Artifact
from pipeline.store import Store


@dataclass(frozen=True)
class Estimate:
    """One stage of a plan with the time and disk that it will take (None = nothing like it was run before)."""

    stage: str
    state: str
    key: str
    seconds: float | None
    bytes: float | None

    def to_dict(self) -> dict[str, Any]:
        """Describe the estimate for `--json`."""
        return asdict(self)

    def words(self, write: Callable[[float], str], value: float | None) -> str:
        """Write one figure, marked as the guess it is."""
        if self.state == "cached":
            return ""
        return "unknown" if value is None else f"~{write(value)}"


def estimate(stages: list[PlannedStage], store: Store) -> list[Estimate]:
    """Guess what each stage costs: nothing where cached, else as the newest of its kind, scaled by the rows."""
    rows = rows_ahead(stages, store)
    return [of_stage(stage, store, rows) for stage in stages]


def of_stage(stage: PlannedStage, store: Store, rows: float | None) -> Estimate:
    """Guess the cost of one stage."""
    if stage.state == "cached":
        return Estimate(stage.stage, stage.state, stage.key, 0.0, 0.0)
    made = [a for a in store.artifacts(STAGES[stage.stage].kind) if "seconds" in a.metrics]
    if not made:
        return Estimate(stage.stage, stage.state, stage.key, None, None)
    like = max(made, key=lambda artifact: artifact.manifest.created)
    then = like.metrics.get("rows")
    scale = rows / then if rows and then else 1.0
    return Estimate(stage.stage, stage.state, stage.key, like.metrics["seconds"] * scale, disk_of(like, store) * scale)


def rows_ahead(stages: list[PlannedStage], store: Store) -> float | None:
    """Count the rows of the dataset where it is ingested already."""
    ingest = stages[0]
    found = store.find(STAGES["ingest"].kind, ingest.key) if ingest.state == "cached" else None
    return found.metrics.get("rows") if found else None


def disk_of(artifact: Artifact, store: Store) -> float:
    """Sum an artifact and what its stage published beside it."""
    stage = artifact.manifest.stage
    beside = [store.find(ref.kind, ref.key) for ref in artifact.manifest.inputs.values()]
    return artifact.manifest.size() + sum(a.manifest.size() for a in beside if a and a.manifest.stage == stage)
