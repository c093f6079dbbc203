"""Stages as runs of their own deployments: one run for one key, shared by all who want it, tried again if lost."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.runtime import flow_run as this_run

from flows.catalogue import STAGES
from flows.run import Wanted
from pipeline.artifacts import Artifact
from pipeline.errors import ConfigError, EndedWithoutCheckpointError, StageFailedError, UserError
from pipeline.store.runs import find_run

TRIES = 3
ATTEMPTS = 100  # of one key, over all runs that ever wanted it
POLL_SECONDS = 2.0
PATIENCE_SECONDS = 900.0  # for a server that does not answer
LOST = frozenset({StateType.CANCELLED, StateType.CRASHED})

OnChild = Callable[[str, UUID], None]


@dataclass(frozen=True)
class ChildRuns:
    """Make artifacts by runs of the stage deployments."""

    document: dict[str, Any]
    dataset: str
    on_child: OnChild

    def __call__(self, wanted: Wanted) -> Artifact:
        """Have one artifact made: by a run that is at it already, or by a new one."""
        for _ in range(TRIES):
            child = self.start(wanted)
            self.on_child(wanted.stage, child.id)
            ended = wait_for(child.id)
            artifact = brought(wanted, ended)
            if artifact is not None:
                return artifact
            refuse(wanted, ended)
            get_run_logger().warning("%s ended %s: trying again", ended.name, ended.state_name)
        raise StageFailedError(
            f"{wanted.stage} was lost {TRIES} times, the last time as {ended.state_name}.",
            "Look at its worker: memory, disk, restarts. What was finished is kept; run again to go on.",
        )

    def start(self, wanted: Wanted) -> FlowRun:
        """Start the run of a stage, or join the one that works on this key."""
        stage = wanted.stage
        try:
            return run_deployment(
                f"{stage}/{stage}",
                parameters={**self.document, "run": wanted.record.id},
                idempotency_key=f"{wanted.key}:{next_attempt(wanted)}",
                flow_run_name=f"{stage} · {self.dataset}",
                tags=[self.dataset],
                timeout=0,
            )  # type: ignore[return-value]
        except ObjectNotFound as error:
            raise ConfigError(
                f"this server has no deployment '{stage}/{stage}'.", "Run `puriflow deploy` against it."
            ) from error


def next_attempt(wanted: Wanted) -> int:
    """Count the attempts: return the one that is under way, else the first that nobody made yet.

    A key whose run ended stands for that run for ever, whatever became of it: what it brought is not in the store.
    """
    keys = [f"{wanted.key}:{number}" for number in range(ATTEMPTS)]
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=keys))
        )
    states = {int(str(run.idempotency_key).rpartition(":")[2]): run.state for run in runs}
    open_ = [number for number, state in states.items() if state is None or not state.is_final()]
    return max(open_, default=max(states, default=-1) + 1)


def wait_for(run: UUID) -> FlowRun:
    """Wait for the end of a run; a server that is away for a while is waited for too."""
    heard = time.monotonic()
    with get_client(sync_client=True) as client:
        while True:
            try:
                found = client.read_flow_run(run)
                heard = time.monotonic()
                if found.state is not None and found.state.is_final():
                    return found
            except (httpx.HTTPError, PrefectHTTPStatusError):
                if time.monotonic() - heard > PATIENCE_SECONDS:
                    raise
            time.sleep(POLL_SECONDS)


def brought(wanted: Wanted, child: FlowRun) -> Artifact | None:
    """Find what a run made: under the key that was expected, or another where source or software changed meanwhile."""
    store = wanted.lookup.store
    found = store.find(STAGES[wanted.stage].kind, wanted.key)
    if found is None:
        record = find_run(store, str((child.parameters or {}).get("run", "")))
        made = record.artifacts.get(wanted.stage) if record else None
        found = store.find(made.ref.kind, made.ref.key) if made else None
    return found


def refuse(wanted: Wanted, ended: FlowRun) -> None:
    """Raise where another attempt would not help: the stage failed, or somebody cancelled this very run of it."""
    state = ended.state
    if state is None or state.type in LOST:
        if state is not None and state.type == StateType.CANCELLED and is_ours(ended):
            raise EndedWithoutCheckpointError(
                f"{wanted.stage} was cancelled.", "Run again to go on from its last checkpoint."
            )
        return
    if state.type == StateType.COMPLETED:  # its worker writes to another store, or somebody removed the artifact
        raise StageFailedError(
            f"{ended.name} completed, but {STAGES[wanted.stage].kind}/{wanted.key} is not in store "
            f"{wanted.lookup.store.url}.",
            "All workers need the same PURIFLOW_STORE: `puriflow doctor` on each of them tells.",
        )
    raise UserError(f"{wanted.stage} failed: {state.message or 'see its log'}")


def is_ours(child: FlowRun) -> bool:
    """Tell whether this run started a child; another one may have, for the same key."""
    if child.parent_task_run_id is None:
        return False
    with get_client(sync_client=True) as client:
        parent = client.read_task_run(child.parent_task_run_id)
        return bool(str(parent.flow_run_id) == this_run.id)
