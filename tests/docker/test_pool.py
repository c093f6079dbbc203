"""Docker pools end to end: server and workers on this machine, the recipe and every stage in their own containers."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.labels import read_labels
from pipeline.store import Store, open_store

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(1800)]

SECRET = "not-really-a-secret"
KEYS = f"[default]\naws_access_key_id = tester\naws_secret_access_key = {SECRET}\n"


@pytest.fixture
def mounted(service: Any, folder: Path) -> Iterator[Store]:
    store = folder / "store"
    yield open_store(str(store))
    assert {path.lstat().st_uid for path in store.rglob("*")} == {10001}


@pytest.fixture
def on_s3(
    service: Any, folder: Path, s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Store]:
    """Let runs keep their artifacts on an S3 service of this machine; the keys are a file that they alone see."""
    keys = folder / "aws" / "credentials"
    keys.parent.mkdir(exist_ok=True)
    keys.write_text(KEYS, encoding="utf-8")
    told = {"PURIFLOW_STORE": "s3://bucket/pool", "AWS_ENDPOINT_URL": s3_endpoint}
    inside = {**told, "AWS_SHARED_CREDENTIALS_FILE": "/aws/credentials"}
    here = {**told, "AWS_SHARED_CREDENTIALS_FILE": str(keys), "PURIFLOW_CACHE": str(tmp_path / "cache")}
    for name, value in here.items():
        monkeypatch.setenv(name, value)
    service.deploy(*(f"--env={name}={value}" for name, value in inside.items()), f"--volume={keys.parent}:/aws:ro")
    yield open_store(told["PURIFLOW_STORE"])
    service.deploy()


def checkpoints(store: Store) -> list[str]:
    return [entry.path for entry in store.entries("checkpoints") if entry.path.endswith("/manifest.json")]


@pytest.mark.parametrize("place", ["mounted", "on_s3"])
def test_a_cancelled_stage_writes_a_checkpoint_and_goes_on_in_another_container(
    place: str, service: Any, document: dict[str, Any], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    store: Store = request.getfixturevalue(place)
    first = service.start("clean-dataset/quick", document)
    deadline = time.monotonic() + 900
    while not checkpoints(store):
        assert time.monotonic() < deadline, service.states()
        time.sleep(1)
    service.cancel(first)
    assert service.end_of(first)["type"] == "CANCELLED"
    assert checkpoints(store)
    assert not list(store.names("encoders"))

    second = service.end_of(service.start("clean-dataset/quick", document))
    assert (second["type"], second["name"]) == ("COMPLETED", "Completed"), second
    labels = tmp_path / "labels.parquet"
    labels.write_bytes(store.read("published/digits-demo/labels.parquet") or b"")
    assert read_labels(labels).num_rows == 1797
    assert not checkpoints(store)
    again = service.end_of(service.start("clean-dataset/quick", document))
    assert (again["type"], again["name"]) == ("COMPLETED", "Cached"), again


def test_nobody_who_sees_a_pool_sees_the_keys(on_s3: Store, service: Any) -> None:
    pool = str(service.ask("c.read_work_pool('puriflow-gpu').base_job_template"))
    assert "/aws/credentials" in pool
    assert SECRET not in pool
