"""Runs that nobody works on any more: a machine that went down leaves them running, and others wait for them."""

from collections.abc import Collection

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType, WorkerStatus
from prefect.states import Cancelled, Crashed

from flows.service.pools import POOLS

AT_WORK = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
MESSAGE = "Its machine or its service was stopped. Run it again: it goes on from the last checkpoint."


def settle(client: SyncPrefectClient, ours: Collection[str]) -> list[str]:
    """End what was left by workers that are to be started only now, in pools where no other machine works."""
    ended = []
    for pool in POOLS:
        others = [w.name for w in client.read_workers_for_work_pool(pool.name) if w.status == WorkerStatus.ONLINE]
        if set(others) <= set(ours):
            ended += [end(client, run) for run in at_work(client, pool.name)]
    return ended


def at_work(client: SyncPrefectClient, pool: str) -> list[FlowRun]:
    """List the runs of a pool that somebody should be working on."""
    return client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=AT_WORK))),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
    )


def end(client: SyncPrefectClient, run: FlowRun) -> str:
    """Say that a run is over."""
    cancelling = run.state is not None and run.state.type == StateType.CANCELLING
    client.set_flow_run_state(
        run.id, Cancelled(message=MESSAGE) if cancelling else Crashed(message=MESSAGE), force=True
    )
    return run.name
