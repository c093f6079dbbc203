"""prefect.yaml against the code: entrypoints, profiles, pools, schedules."""

import importlib
from pathlib import Path

import jsonschema
import pytest
import yaml

from flows.catalogue import STAGES
from flows.document import merge, read_profile
from flows.service.form import PARENTS, flow_and_form
from flows.service.pools import POOLS

ROOT = Path(__file__).parents[3]
FILE = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
DEPLOYMENTS = {entry["name"]: entry for entry in FILE["deployments"]}
CLEAN = {name: entry for name, entry in DEPLOYMENTS.items() if entry["entrypoint"] == "flows.clean.clean_dataset"}
EXAMPLE = {"dataset": {"name": "a", "kind": "image_folder", "path": ["a"]}}

DEPLOYED = [name for name, program in STAGES.items() if program.deployed]


def test_the_file_at_the_root_is_the_one_in_the_package() -> None:
    packaged = ROOT / "flows" / "service" / "prefect.yaml"
    assert (ROOT / "prefect.yaml").read_bytes() == packaged.read_bytes()


def test_every_stage_has_a_deployment_of_its_name() -> None:
    for stage in DEPLOYED:
        assert DEPLOYMENTS[stage]["entrypoint"] == f"flows.service.stages.{stage}"


@pytest.mark.parametrize("profile", ["quick", "standard", "thorough"])
def test_profiles_are_those_of_the_command_line_and_publish(profile: str) -> None:
    assert CLEAN[profile]["parameters"] == merge(read_profile(profile), {"publish": {"enabled": True}})


def test_runs_of_the_recipe_have_a_pool_of_their_own() -> None:
    pools = {name: entry["work_pool"]["name"] for name, entry in DEPLOYMENTS.items()}
    parents = {pools[name] for name, entry in DEPLOYMENTS.items() if entry["entrypoint"] in PARENTS}
    assert parents == {"puriflow-flows"}
    assert not parents & {pools[stage] for stage in DEPLOYED}
    assert set(pools.values()) == {pool.name for pool in POOLS}


def test_a_parent_never_waits_for_a_place_that_another_parent_holds() -> None:
    assert next(pool for pool in POOLS if pool.name == "puriflow-flows").limit is None


def test_example_schedules_are_off_and_overlaps_are_cancelled() -> None:
    scheduled = [entry for entry in DEPLOYMENTS.values() if entry.get("schedules")]
    assert scheduled
    for entry in scheduled:
        assert entry["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}
        assert all(one["active"] is False and one["slug"] and one["timezone"] for one in entry["schedules"])


def test_the_parameters_of_every_deployment_and_schedule_fit_its_form() -> None:
    for entry in DEPLOYMENTS.values():
        schema = {**flow_and_form(entry)[1](), "additionalProperties": False}
        given = entry.get("parameters") or {}
        jsonschema.validate({**EXAMPLE, **given}, schema)  # none that its flow does not take
        for one in entry.get("schedules", []):
            jsonschema.validate({**given, **one["parameters"]}, schema)


@pytest.mark.slow  # Prefect's import takes seconds
def test_every_entrypoint_is_a_flow() -> None:
    from prefect import Flow

    for entry in DEPLOYMENTS.values():
        module, _, name = entry["entrypoint"].rpartition(".")
        assert isinstance(getattr(importlib.import_module(module), name), Flow)
