"""Docker pools end to end: server and workers on this machine, the recipe and every stage in their own containers."""

import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.labels import read_labels

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(1800)]


def test_a_cancelled_stage_writes_a_checkpoint_and_goes_on_in_another_container(
    service: Any, folder: Path, document: dict[str, Any], engine
) -> None:
    store = folder / "store"
    first = service.start("clean-dataset/quick", document)
    deadline = time.monotonic() + 900
    while not any('"train"' in path.read_text() for path in store.glob(".work/*/represent/progress.jsonl")):
        assert time.monotonic() < deadline, service.states()
        time.sleep(1)
    service.cancel(first)
    assert service.end_of(first)["type"] == "CANCELLED"
    assert list(store.glob("checkpoints/*/*/manifest.json"))

    second = service.end_of(service.start("clean-dataset/quick", document))
    assert (second["type"], second["name"]) == ("COMPLETED", "Completed"), second
    assert read_labels(store / "published" / "digits-demo" / "labels.parquet").num_rows == 1797
    assert not list(store.glob("checkpoints/*/*"))
    assert {path.lstat().st_uid for path in store.rglob("*")} == {10001}
    again = service.end_of(service.start("clean-dataset/quick", document))
    assert (again["type"], again["name"]) == ("COMPLETED", "Cached"), again
