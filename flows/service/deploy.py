"""Bring pools, deployments and automations of a server up to date; what people changed about schedules is kept."""

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyOptions
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from flows.service.containers import Containers, container_template
from flows.service.form import flow_and_form
from flows.service.kubernetes import job_template
from flows.service.pools import POOLS, Pool, process_template
from pipeline.errors import ConfigError

PREFECT_YAML = Path(__file__).with_name("prefect.yaml")


def deploy_all(client: SyncPrefectClient, containers: Containers | None = None) -> list[str]:
    """Create or update everything; return the names of the deployments."""
    for pool in POOLS:
        bring_pool(client, pool, containers)
    return [bring_deployment(client, entry) for entry in entries()]


def entries() -> Iterator[dict[str, Any]]:
    """Go through the deployments of prefect.yaml."""
    yield from yaml.safe_load(PREFECT_YAML.read_text(encoding="utf-8"))["deployments"]


def bring_pool(client: SyncPrefectClient, pool: Pool, containers: Containers | None) -> None:
    """Create a pool, or give the one that is there today's template; its limit is the operator's."""
    kind, made = kind_and_template(pool, containers)
    try:
        there = client.read_work_pool(pool.name)
    except ObjectNotFound:
        wanted = WorkPoolCreate(
            name=pool.name, description=pool.purpose, type=kind, base_job_template=made, concurrency_limit=pool.limit
        )
        try:
            client.create_work_pool(wanted)
        except ObjectAlreadyExists:  # another `puriflow deploy` was faster
            bring_pool(client, pool, containers)
        return
    if there.type != kind:
        raise ConfigError(
            f"work pool {pool.name} is of type {there.type}, not {kind}.",
            f"Delete it (`prefect work-pool delete {pool.name}`) and deploy again, or deploy for its type.",
        )
    client.update_work_pool(pool.name, WorkPoolUpdate(base_job_template=made, description=pool.purpose))


def kind_and_template(pool: Pool, containers: Containers | None) -> tuple[str, dict[str, Any]]:
    """Choose what a pool's runs are: processes of its worker, containers or jobs of a cluster."""
    if containers is None:
        return "process", process_template()
    if containers.namespace:
        return "kubernetes", job_template(pool, containers)
    return "docker", container_template(pool, containers)


def bring_deployment(client: SyncPrefectClient, entry: dict[str, Any]) -> str:
    """Create or update one deployment; schedules that are there already stay as people left them."""
    flow, make_form = flow_and_form(entry)
    name = f"{flow}/{entry['name']}"
    client.create_deployment(
        flow_id=client.create_flow_from_name(flow),
        name=entry["name"],
        version=metadata.version("puriflow"),
        description=entry["description"],
        tags=entry["tags"],
        entrypoint=entry["entrypoint"],
        work_pool_name=entry["work_pool"]["name"],
        job_variables=entry["work_pool"].get("job_variables"),
        parameters=entry.get("parameters"),
        parameter_openapi_schema=make_form(),
        enforce_parameter_schema=True,
        schedules=schedules_of(client, name) or [schedule(one) for one in entry.get("schedules", [])],
        pull_steps=[],
        **limits(entry),
    )
    return name


def limits(entry: dict[str, Any]) -> dict[str, Any]:
    """Say how many runs of a deployment there may be, and what becomes of one too many."""
    limit = entry.get("concurrency_limit")
    if limit is None:
        return {}
    known = ConcurrencyLimitConfig.model_validate(limit)
    options = ConcurrencyOptions(collision_strategy=known.collision_strategy)
    return {"concurrency_limit": known.limit, "concurrency_options": options}


def schedule(entry: dict[str, Any]) -> DeploymentScheduleCreate:
    """Read one schedule of prefect.yaml."""
    return DeploymentScheduleCreate(
        slug=entry["slug"],
        active=entry["active"],
        parameters=entry["parameters"],
        schedule=CronSchedule(cron=entry["cron"], timezone=entry["timezone"]),
    )


def schedules_of(client: SyncPrefectClient, name: str) -> list[DeploymentScheduleCreate]:
    """Take the schedules of a deployment as they are on the server."""
    try:
        there: UUID = client.read_deployment_by_name(name).id
    except ObjectNotFound:
        return []
    kept = ("slug", "active", "parameters", "schedule", "max_scheduled_runs")
    found = client.read_deployment_schedules(there)
    return [DeploymentScheduleCreate(**{field: getattr(one, field) for field in kept}) for one in found]
