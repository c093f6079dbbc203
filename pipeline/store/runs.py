"""Run records: what each run of the recipe was asked, which artifacts it made or found, and how it ended."""

import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field, ValidationError

from pipeline.artifacts import Ref
from pipeline.config import Config
from pipeline.errors import ContractError
from pipeline.store.store import Store, utc_now

RUNS = "runs"

State = Literal["running", "completed", "failed", "interrupted"]


class RunArtifact(Config):
    """What a run has from one stage."""

    ref: Ref
    cached: bool = False
    seconds: float = 0


class RunRecord(Config):
    """One run of the recipe; the id begins with its time, so that names sort by age."""

    id: str
    started: str
    dataset: str
    title: str = ""
    document: dict[str, Any] = Field(default_factory=dict)
    artifacts: dict[str, RunArtifact] = Field(default_factory=dict)
    state: State = "running"
    error: dict[str, str | int] | None = None
    finished: str = ""

    def with_artifact(self, stage: str, made: RunArtifact) -> "RunRecord":
        """Add what a stage made or found."""
        return self.model_copy(update={"artifacts": {**self.artifacts, stage: made}})

    def ended(self, state: State, error: dict[str, str | int] | None = None) -> "RunRecord":
        """Say how the run ended."""
        return self.model_copy(update={"state": state, "error": error, "finished": utc_now()})


def begin_run(store: Store, dataset: str, title: str = "", document: Mapping[str, Any] | None = None) -> RunRecord:
    """Write the record of a run that starts now."""
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}Z-{uuid.uuid4().hex[:8]}"
    record = RunRecord(id=name, started=utc_now(), dataset=dataset, title=title, document=dict(document or {}))
    save_run(store, record)
    return record


def save_run(store: Store, record: RunRecord) -> None:
    """Write a record over its earlier state."""
    store.replace(f"{RUNS}/{record.id}.json", record.model_dump_json(indent=1).encode())


def find_run(store: Store, run_id: str) -> RunRecord | None:
    """Look one run up."""
    data = store.read(f"{RUNS}/{run_id}.json")
    if data is None:
        return None
    try:
        return RunRecord.model_validate_json(data)
    except ValidationError as error:
        raise ContractError(
            f"run record {RUNS}/{run_id}.json in {store.url} is not readable ({error.error_count()} faults).",
            "Use the puriflow that wrote it, or delete that file.",
        ) from error


def list_runs(store: Store, dataset: str = "") -> Iterator[RunRecord]:
    """Go through the runs of one dataset or of all, the newest first."""
    for name in reversed(store.children(RUNS)):
        record = find_run(store, name.removesuffix(".json")) if name.endswith(".json") else None
        if record is not None and dataset in ("", record.dataset):
            yield record


def newest_run(store: Store, dataset: str, state: State | None = None) -> RunRecord | None:
    """Find the last run of a dataset, in any or one state."""
    return next((r for r in list_runs(store, dataset) if state in (None, r.state)), None)
