"""The work pools and their base job templates: what a run may use is the operator's, and no form can change it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

HEARTBEAT_SECONDS = 30
KEPT: dict[str, str] = {  # in the environment of every flow run
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
    "DO_NOT_TRACK": "1",
}


@dataclass(frozen=True)
class Pool:
    """One work pool: for what, and how much of it at once on this server."""

    name: str
    purpose: str
    limit: int | None = None
    gpu: bool = False
    stages: bool = True  # else it holds the runs of clean-dataset


POOLS = (
    Pool("puriflow-flows", "Runs of clean-dataset and compare-methods: they wait for their stages.", stages=False),
    Pool("puriflow-cpu", "ingest, purify and report.", limit=2),
    Pool("puriflow-gpu", "represent, embed and retrain: one at a time, with the GPUs.", limit=1, gpu=True),
)


def process_template() -> dict[str, Any]:
    """Run flows as processes of the worker: nothing in it is a variable, the worker's environment is theirs."""
    return template({"env": KEPT, "stream_output": False})


def template(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Write a base job template without variables."""
    return {"job_configuration": dict(configuration), "variables": {"type": "object", "properties": {}}}


def pairs(texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Split NAME=VALUE."""
    return tuple((name, value) for name, _, value in (text.partition("=") for text in texts))
