"""What an operator says of containers is what Docker and Kubernetes are told, and no form can change it."""

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from flows.service.containers import Containers, container_template
from flows.service.kubernetes import job_template
from flows.service.pools import POOLS, Pool, process_template
from pipeline.errors import ConfigError

FLOWS, CPU, GPU = POOLS
EVERYTHING = Containers(
    image="puriflow-stage:1", flow_image="puriflow-flow:1", volumes=("store:/store", "data:/data:ro"),
    environment=(("PURIFLOW_STORE", "/store"),), network="host", user="1000:100", memory="4Gi", gpus="2",
)  # fmt: skip

SHOWN = Path(__file__).parents[3] / "docs" / "containers" / "represent-job.yaml"
VOLATILE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<=version: )[\d.]+")
DOCUMENTED = Containers(
    "registry.example.org/puriflow-stage:0.1.0", volumes=("puriflow-store:/store",), memory="32Gi", gpus="1",
    environment=(("PURIFLOW_STORE", "/store"),), namespace="puriflow",
)  # fmt: skip

# What the worker does between base job templates and the cluster, in another process: Prefect reads its settings once.
RENDER = """
import asyncio, json, sys, uuid
from prefect.client.schemas.objects import FlowRun
from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration as Job
async def render(template):
    job = await Job.from_template_and_values(template, {})
    job.prepare_for_flow_run(FlowRun(id=uuid.uuid4(), flow_id=uuid.uuid4(), name="shop-photos · 2026-11-27"))
    return job.job_manifest
print(json.dumps([asyncio.run(render(template)) for template in json.load(sys.stdin)]))
"""


def container(pool: Pool, containers: Containers) -> dict[str, Any]:
    return dict(container_template(pool, containers)["job_configuration"])


@pytest.mark.parametrize("make", [container_template, job_template])
def test_no_form_reaches_command_image_volumes_or_environment(make: Any) -> None:
    for template in (process_template(), *(make(pool, EVERYTHING) for pool in POOLS)):
        assert template["variables"]["properties"] == {}
        assert "{{" not in str(template["job_configuration"])


def test_a_container_may_do_nothing_but_write_to_the_store_and_its_scratch() -> None:
    for pool in POOLS:
        made = container(pool, EVERYTHING)
        assert (made["privileged"], made["stream_output"]) == (False, True)
        create = made["container_create_kwargs"]
        assert (create["cap_drop"], create["security_opt"]) == (["ALL"], ["no-new-privileges"])
        assert (create["read_only"], create["user"]) == (True, "1000:100")
        assert made["volumes"] == ["store:/store", "data:/data:ro"]


def test_only_the_gpu_pool_has_gpus_and_as_many_as_were_said() -> None:
    counts = [container(pool, EVERYTHING)["container_create_kwargs"].get("device_requests") for pool in POOLS]
    assert counts == [None, None, [{"Driver": "nvidia", "Count": 2, "Capabilities": [["gpu"]]}]]
    for said, count in (("all", -1), ("none", None)):
        create = container(GPU, Containers("a:1", gpus=said))["container_create_kwargs"]
        assert [r["Count"] for r in create.get("device_requests", [])] == ([count] if count else [])


def test_runs_of_the_recipe_have_the_small_image_and_no_limit() -> None:
    assert [container(pool, EVERYTHING)["image"] for pool in POOLS] == ["puriflow-flow:1", *["puriflow-stage:1"] * 2]
    assert [container(pool, EVERYTHING).get("mem_limit") for pool in POOLS] == [None, "4Gi", "4Gi"]
    assert container(FLOWS, Containers("one:1"))["image"] == "one:1"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"user": "0:0"}, "user '0:0' does not fit"),
        ({"user": "me"}, "user 'me' does not fit"),
        ({"gpus": "-1"}, "gpus '-1' does not fit"),
        ({"volumes": ("/data",)}, "volume '/data' does not fit"),
    ],
)
def test_what_no_engine_would_take_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Containers("a:1", **wrong)


@pytest.mark.slow  # imports of Prefect
def test_the_jobs_that_a_worker_would_create_are_valid_and_restricted() -> None:
    told = Containers(**{**EVERYTHING.__dict__, "namespace": "ml", "network": ""})
    templates = [*(job_template(pool, told) for pool in POOLS), job_template(GPU, DOCUMENTED)]
    rendered = subprocess.run(
        [sys.executable, "-c", RENDER], input=json.dumps(templates), capture_output=True, text=True, check=False,
        env={"PREFECT_HOME": os.environ["PREFECT_HOME"], "PREFECT_API_URL": "http://puriflow-server:4200/api"},
    )  # fmt: skip
    assert rendered.returncode == 0, rendered.stderr
    *jobs, shown = json.loads(rendered.stdout)
    for pool, job in zip(POOLS, jobs, strict=True):
        check_job(pool, job)
    made = VOLATILE.sub("…", yaml.safe_dump(shown, sort_keys=False, width=150, allow_unicode=True))
    assert made == SHOWN.read_text(encoding="utf-8"), f"{SHOWN} is another job; today's:\n{made}"


def check_job(pool: Pool, job: dict[str, Any]) -> None:
    spec = job["spec"]["template"]["spec"]
    for stray in ("parallelism", "completions"):  # Prefect's own template has them in the pod, where clusters drop them
        del spec[stray]
    kubernetes_validate.validate(job, "1.34", strict=True)
    run = spec["containers"][0]
    told = {one["name"]: one["value"] for one in run["env"]}
    assert told["PURIFLOW_STORE"] == "/store"
    assert told["PREFECT_HOME"] == "/scratch/prefect"
    assert told["PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"] == "reschedule"
    assert run["args"] == ["prefect", "flow-run", "execute"]
    assert (job["metadata"]["namespace"], job["spec"]["backoffLimit"]) == ("ml", 0)
    assert run["resources"]["limits"].get("nvidia.com/gpu") == (2 if pool is GPU else None)
    assert ("tolerations" in spec) == (pool is GPU)
    assert (spec["securityContext"]["runAsUser"], run["securityContext"]["readOnlyRootFilesystem"]) == (1000, True)
    claims = [v["persistentVolumeClaim"]["claimName"] for v in spec["volumes"] if "persistentVolumeClaim" in v]
    assert claims == ["store", "data"]


def test_the_schema_finds_what_is_wrong() -> None:
    job = copy.deepcopy(job_template(CPU, EVERYTHING)["job_configuration"]["job_manifest"])
    with pytest.raises(kubernetes_validate.ValidationError, match="parallelism"):
        kubernetes_validate.validate(job, "1.34", strict=True)
