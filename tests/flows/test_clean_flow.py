"""The flow in Prefect: a smoke test against a real temporary server; the service has tests of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.document import load_document
from flows.recipe import stages_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning"),
]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("PREFECT_LOGGING_TO_API_ENABLED", "false")
    monkeypatch.setenv("PURIFLOW_STORE", str(tmp_path / "store"))
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


def states_of_last_run() -> dict[str, str]:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        runs = sorted(client.read_task_runs(), key=lambda run: run.created)
    return {run.name.rsplit("-", 1)[0]: run.state.name for run in runs}


@pytest.mark.usefixtures("server")
def test_every_stage_is_a_task_run_and_cached_the_second_time(tiny: Path) -> None:
    from flows.clean import clean_dataset

    request = load_document(tiny)
    first = clean_dataset(request)
    assert Path(first["label_table"]).is_file()
    assert states_of_last_run() == dict.fromkeys(stages_of(request), "Completed")
    second = clean_dataset(request)
    assert second["label_table"] == first["label_table"]
    assert second["cached"]
    assert states_of_last_run() == dict.fromkeys(stages_of(request), "Cached")
