"""The manifests in docker/kubernetes against the cluster's schema. No cluster is needed."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from flows.service.pools import POOLS

FOLDER = Path(__file__).parents[2] / "docker" / "kubernetes"
CLUSTER = "1.34"


def documents(text: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(text))


@pytest.fixture(scope="module")
def manifests() -> list[dict[str, Any]]:
    """Read all manifests: through kustomize where kubectl is there, else as they stand."""
    single = documents((FOLDER / "torchrun.yaml").read_text(encoding="utf-8"))
    if shutil.which("kubectl"):
        made = subprocess.run(["kubectl", "kustomize", str(FOLDER)], capture_output=True, text=True, check=True).stdout
        return documents(made) + single
    listed = yaml.safe_load((FOLDER / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]
    return [one for name in listed for one in documents((FOLDER / name).read_text(encoding="utf-8"))] + single


def pods(manifests: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for one in manifests:
        if "template" in one.get("spec", {}):
            yield one["spec"]["template"]["spec"]


def test_every_manifest_fits_the_schema(manifests: list[dict[str, Any]]) -> None:
    for one in manifests:
        kubernetes_validate.validate(one, CLUSTER, strict=True)
    assert {one["kind"] for one in manifests} == {
        "ServiceAccount", "Role", "RoleBinding", "Service", "Deployment", "Job",
    }  # fmt: skip


def test_no_container_has_rights_and_every_one_knows_what_it_needs(manifests: list[dict[str, Any]]) -> None:
    for pod in pods(manifests):
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
            }  # fmt: skip
            assert set(container["resources"]["requests"]) >= {"cpu", "memory"}
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_every_pool_has_a_worker_that_may_only_make_jobs(manifests: list[dict[str, Any]]) -> None:
    commands = [container["args"] for pod in pods(manifests) for container in pod["containers"]]
    served = [words[words.index("--pool") + 1] for words in commands if "--pool" in words]
    assert sorted(served) == sorted(pool.name for pool in POOLS)
    role = next(one for one in manifests if one["kind"] == "Role")
    may_write = {
        r for rule in role["rules"] if set(rule["verbs"]) - {"get", "list", "watch"} for r in rule["resources"]
    }
    assert may_write == {"jobs"}


def test_the_server_is_set_as_compose_sets_it(manifests: list[dict[str, Any]]) -> None:
    server = next(
        one for one in manifests if one["metadata"]["name"] == "puriflow-server" and "template" in one["spec"]
    )
    told = {one["name"]: one["value"] for one in server["spec"]["template"]["spec"]["containers"][0]["env"]}
    compose = yaml.safe_load((FOLDER.parent / "compose.yaml").read_text(encoding="utf-8"))["services"]["server"]
    ours = {name: value for name, value in compose["environment"].items() if name.startswith("PREFECT_SERVER")}
    assert {name: value for name, value in ours.items() if "${" not in value}.items() <= told.items()


def test_the_pods_of_several_nodes_find_the_first_one(manifests: list[dict[str, Any]]) -> None:
    job = next(one for one in manifests if one["kind"] == "Job")
    pod = job["spec"]["template"]["spec"]
    told = dict(word.removeprefix("--").split("=", 1) for word in pod["containers"][0]["args"] if "=" in word)
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == int(told["nnodes"])
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == int(told["nproc-per-node"])
    name = job["metadata"]["name"]
    assert told["rdzv-endpoint"] == f"{name}-0.{pod['subdomain']}:29500"
    service = next(one for one in manifests if one["metadata"]["name"] == pod["subdomain"])
    assert (service["spec"]["clusterIP"], service["spec"]["selector"]) == ("None", {"job-name": name})
