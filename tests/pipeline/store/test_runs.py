import pytest

from pipeline.artifacts import Ref
from pipeline.errors import ContractError
from pipeline.store import Store, open_store
from pipeline.store.runs import RunArtifact, RunRecord, begin_run, find_run, list_runs, newest_run, save_run


def test_a_run_is_found_again_as_it_ended(store: Store) -> None:
    run = begin_run(store, "photos", "A title", {"seed": 3})
    assert find_run(store, run.id) == run
    assert run.state == "running"
    run = run.with_artifact("purify", RunArtifact(ref=Ref(kind="labels", key="k"), cached=True, seconds=1.5))
    save_run(store, run)
    save_run(store, run.ended("failed", {"code": "data", "message": "m", "exit_code": 2}))
    found = find_run(store, run.id)
    assert found is not None
    assert (found.state, found.artifacts, found.document) == ("failed", run.artifacts, {"seed": 3})
    assert found.error == {"code": "data", "message": "m", "exit_code": 2}
    assert found.finished >= found.started


def test_runs_are_listed_newest_first_by_dataset_and_state(tmp_path) -> None:
    store = open_store(str(tmp_path))
    runs = [begin_run(store, name) for name in ("photos", "tickets", "photos")]
    save_run(store, runs[0].ended("completed"))
    assert [r.id for r in list_runs(store)] == [r.id for r in reversed(runs)]
    assert [r.id for r in list_runs(store, "photos")] == [runs[2].id, runs[0].id]
    assert newest_run(store, "photos") == runs[2]
    completed = newest_run(store, "photos", "completed")
    assert completed is not None
    assert completed.id == runs[0].id
    assert newest_run(store, "nothing") is None
    assert find_run(store, "nothing") is None


def test_a_record_of_another_version_is_named(tmp_path) -> None:
    store = open_store(str(tmp_path))
    store.replace("runs/x.json", b'{"id": "x", "flavour": 1}')
    with pytest.raises(ContractError, match=r"run record runs/x.json in .* is not readable"):
        newest_run(store, "photos")


def test_names_sort_by_time(tmp_path) -> None:
    store = open_store(str(tmp_path))
    names = [begin_run(store, "d").id for _ in range(20)]
    assert names == sorted(names)
    assert isinstance(find_run(store, names[0]), RunRecord)
