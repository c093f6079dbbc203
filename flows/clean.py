"""The recipe as a Prefect flow: the same stages in the same child processes, each a task run in the UI."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.document import CleanRequest
from flows.inline import run_clean
from flows.recipe import RunStage, StageOutcome
from pipeline.artifacts import Ref
from pipeline.config import StageConfig
from pipeline.errors import ConfigError
from pipeline.progress import ProgressLine
from pipeline.requests import Resources
from pipeline.store import open_store

STORE_ENV = "PURIFLOW_STORE"
DATA_ENV = "PURIFLOW_DATA_ROOT"
LOG_SECONDS = 10.0


class LogView:
    """An observer that writes into the log of the flow run, at most every ten seconds while a stage works."""

    def __init__(self) -> None:
        self._logger = get_run_logger()
        self._said_at = 0.0

    def started(self, stage: str, total_stages: int) -> None:
        """Say which stage begins."""
        self._logger.info("%s begins", stage)

    def progress(self, stage: str, line: ProgressLine) -> None:
        """Say how far a stage is."""
        if line.time - self._said_at >= LOG_SECONDS:
            self._said_at = line.time
            self._logger.info("%s: %s %g of %g, %s", stage, line.phase, line.step, line.total, line.metrics)

    def finished(self, outcome: StageOutcome) -> None:
        """Say that an artifact is there."""
        self._logger.info("%s: %s%s", outcome.stage, outcome.artifact.ref, " (cached)" if outcome.cached else "")


def as_tasks(run_stage: RunStage) -> RunStage:
    """Make every stage a task run; one that had nothing to do ends with the state Cached."""

    def run(stage: str, config: StageConfig, inputs: Mapping[str, Ref]) -> StageOutcome:
        done: list[StageOutcome] = []

        @task(name=stage, cache_policy=NO_CACHE, persist_result=False)
        def stage_task(key_of_inputs: dict[str, str]) -> "dict[str, str] | State[dict[str, str]]":
            outcome = run_stage(stage, config, inputs)
            done.append(outcome)
            ref = {"kind": outcome.artifact.manifest.kind, "key": outcome.artifact.key}
            return Completed(name="Cached", message=outcome.artifact.key, data=ref) if outcome.cached else ref

        stage_task({name: ref.key for name, ref in inputs.items()})
        return done[0]

    return run


@flow(name="clean-dataset", persist_result=False, validate_parameters=True)
def clean_dataset(request: CleanRequest) -> dict[str, Any]:
    """Clean a dataset: ingest, learn features, purify the labels, retrain and report."""
    url = os.environ.get(STORE_ENV, "")
    if not url:
        raise ConfigError(f"{STORE_ENV} names no store.", "Set it on the worker: a folder or s3://bucket/prefix.")
    root = Path(os.environ.get(DATA_ENV, "."))
    return run_clean(request.resolved(root), open_store(url), LogView(), Resources(), around=as_tasks).to_dict()
