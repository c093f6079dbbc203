import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.artifacts import Artifact, Ref
from pipeline.store import FileStore, Store, open_store
from pipeline.store.gc import Rules, collect
from pipeline.store.published import publish_labels
from pipeline.store.runs import RunArtifact, begin_run, save_run
from pipeline.store.verify import verify

NOW = datetime.now(UTC)
LATER = NOW + timedelta(days=60)


def ago(days: float) -> str:
    return (NOW - timedelta(days=days)).isoformat(timespec="milliseconds")


def names(store: Store) -> set[str]:
    return {str(a.ref) for a in store.artifacts()}


def run_of(store: Store, days: float, *made: Artifact, state: str = "completed") -> str:
    run = begin_run(store, "photos")
    when = (NOW - timedelta(days=days)).strftime("%Y%m%dT%H%M%S%f")
    parts = {a.ref.kind: RunArtifact(ref=a.ref) for a in made}
    store.remove(f"runs/{run.id}.json")
    run = run.model_copy(update={"id": f"{when}Z-x", "started": ago(days), "artifacts": parts, "state": state})
    save_run(store, run)
    return run.id


@pytest.fixture
def made(put):
    """Make a chain images → features → labels of some age: made(store, 'x', days=30)."""

    def chain(store: Store, name: str, days: float) -> Artifact:
        images = put(store, "images", f"i{name}", created=ago(days))
        features = put(store, "features", f"f{name}", created=ago(days), inputs={"images": images.ref})
        notes = put(store, "annotations", f"a{name}", created=ago(days))
        inputs = {"features": features.ref, "annotations": notes.ref}
        return put(store, "labels", f"l{name}", {"labels.parquet": b"t"}, created=ago(days), inputs=inputs)

    return chain


def test_a_dry_run_touches_nothing(store: Store, made) -> None:
    made(store, "old", 30)
    before = [(e.path, e.bytes) for e in store.entries("")]
    report = collect(store)
    assert report.dry_run
    assert {w.path for w in report.waste} == {"images/iold", "features/fold", "annotations/aold", "labels/lold"}
    assert all(w.why and w.to_trash for w in report.waste)
    assert report.bytes == sum(w.bytes for w in report.waste) > 0
    assert [(e.path, e.bytes) for e in store.entries("")] == before


def test_what_nobody_needs_goes_to_the_trash_and_later_for_good(store: Store, made) -> None:
    made(store, "old", 30)
    keep = made(store, "published", 30)
    publish_labels(store, "photos", keep.ref)
    report = collect(store, dry_run=False)
    assert (len(report.waste), report.kept) == (4, 4)
    assert names(store) == {"images/ipublished", "features/fpublished", "annotations/apublished", "labels/lpublished"}
    trashed = [e.path for e in store.entries("trash")]
    assert sum(path.endswith("manifest.json") for path in trashed) == 4
    assert collect(store, dry_run=False).waste == ()
    assert {w.path for w in collect(store, now=NOW + timedelta(days=9)).waste} == {f"trash/{NOW.date()}"}
    collect(store, Rules(trash_days=-2), dry_run=False)
    assert list(store.entries("trash")) == []
    assert all(v.faults == () for v in verify(store))


def test_the_last_published_versions_keep_what_their_runs_made(tmp_path: Path, made, put) -> None:
    store = open_store(str(tmp_path))
    for n in range(5):
        labels = made(store, str(n), 60 - n)
        model = put(store, "models", f"m{n}", created=ago(60 - n), inputs={"labels": labels.ref})
        publish_labels(store, "photos", labels.ref, run=run_of(store, 60 - n, labels, model))
    collect(store, Rules(versions=3), dry_run=False)
    kept = {"2", "3", "4"}
    assert {a.key[1:] for a in store.artifacts("models")} == kept
    assert {a.key[1:] for a in store.artifacts("images")} == kept
    assert len(store.children("published/photos/versions")) == 5  # what was published stays published


def test_each_dataset_keeps_its_own_versions(tmp_path: Path, made) -> None:
    store = open_store(str(tmp_path))
    for name in ("a", "b"):
        publish_labels(store, name, made(store, name, 60).ref)
    assert collect(store, Rules(versions=1)).waste == ()


def test_recent_runs_keep_all_they_reach(tmp_path: Path, made) -> None:
    store = open_store(str(tmp_path))
    run_of(store, 6, made(store, "recent", 40), state="failed")
    run_of(store, 8, made(store, "late", 40))
    collect(store, dry_run=False)
    assert {a.key for a in store.artifacts("images")} == {"irecent"}


def test_young_artifacts_and_their_inputs_are_kept(tmp_path: Path, made, put) -> None:
    store = open_store(str(tmp_path))
    old = made(store, "old", 40)
    put(store, "reports", "young", created=ago(0.5), inputs={"labels": old.ref})
    assert collect(store).waste == ()


def test_a_long_running_run_keeps_what_its_stages_publish(tmp_path: Path, put) -> None:
    store = open_store(str(tmp_path))
    put(store, "shards", "of a long ingest", created=ago(3))
    put(store, "shards", "older", created=ago(5))
    run_of(store, 4, state="running")
    assert [w.path for w in collect(store).waste] == ["shards/older"]


def test_a_running_run_keeps_what_it_may_copy_from(tmp_path: Path, made) -> None:
    store = open_store(str(tmp_path))
    run_of(store, 60, made(store, "older", 60))
    run_of(store, 40, made(store, "last", 40))
    assert {w.path for w in collect(store).waste} >= {"images/ilast", "images/iolder"}
    begin_run(store, "photos")
    assert {w.path for w in collect(store).waste} == {
        f"{p}older" for p in ("images/i", "features/f", "annotations/a", "labels/l")
    }


def test_a_run_that_begins_during_the_collection_loses_nothing(
    tmp_path: Path, made, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(str(tmp_path))
    labels = made(store, "reused", 40)
    made(store, "old", 40)
    real = FileStore.children

    def begin(self: FileStore, prefix: str) -> list[str]:
        if prefix == "checkpoints":  # after the first look at the runs
            run_of(store, 0, labels, state="running")
        return real(self, prefix)

    monkeypatch.setattr(FileStore, "children", begin)
    collect(store, dry_run=False)
    assert names(store) == {"images/ireused", "features/freused", "annotations/areused", "labels/lreused"}


def test_users_go_before_what_they_use(tmp_path: Path, made) -> None:
    store = open_store(str(tmp_path))
    made(store, "old", 40)
    order = [w.path.split("/")[0] for w in collect(store).waste]
    assert order.index("labels") < order.index("features") < order.index("images")


def test_published_and_decisions_are_never_touched(store: Store, made) -> None:
    made(store, "old", 40)
    for path in ("decisions/photos/1.parquet", "published/photos/stray", "runs/notes.txt"):
        store.replace(path, b"x")
    collect(store, Rules(versions=0, run_days=0, young_days=0, trash_days=-99), dry_run=False, now=LATER)
    assert [store.read(p) for p in ("decisions/photos/1.parquet", "published/photos/stray", "runs/notes.txt")] == [
        b"x"
    ] * 3


def test_uploads_that_lost_or_never_ended_go_when_they_are_old(s3_url: str, put) -> None:
    store = open_store(s3_url)
    won = put(store, "labels", "k")
    lost, never = f"labels/k/parts/{'a' * 32}", f"images/k/parts/{'b' * 32}"
    for path in (lost, never):
        store.replace(f"{path}/data.bin", b"x")
    store.replace("my/own/parts/folder", b"not ours")
    assert collect(store).waste == ()
    soon = Rules(young_days=-1)  # as if tomorrow: the service's clock cannot be turned
    report = collect(store, soon)
    assert {w.path for w in report.waste} - {"labels/k"} == {lost, never}
    run_of(store, 0, won)
    collect(store, soon, dry_run=False)
    assert store.children("images") == []
    assert store.read("my/own/parts/folder") == b"not ours"
    assert [v.faults for v in verify(store)] == [()]


def test_checkpoints_go_when_their_artifact_is_there_or_nobody_came_back(tmp_path: Path, put) -> None:
    store = open_store(str(tmp_path))
    put(store, "models", "done")
    for key in ("done", "open", "stale"):
        put(store, "checkpoints", f"{key}/000000000001-x")
    month = time.time() - 40 * 86400
    for path in (tmp_path / "checkpoints" / "stale").rglob("*"):
        os.utime(path, (month, month))
    report = collect(store, dry_run=False)
    assert {w.path: w.why for w in report.waste} == {
        "checkpoints/done": "its artifact is there",
        "checkpoints/stale": "nobody resumed it for 30 days",
    }
    assert store.children("checkpoints") == ["open"]


def test_what_dead_processes_left_goes_and_what_living_ones_have_stays(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    for area in (".staging", ".work"):
        (tmp_path / area / "dead-1").mkdir(parents=True)
        (tmp_path / area / "dead-1.lock").touch()
    (tmp_path / ".locks").mkdir()
    (tmp_path / ".locks" / "labels-k.lock").touch()
    with store.staging("labels", "k2") as alive, store.lock("labels", "k2"):
        (tmp_path / ".staging" / "dead-2").mkdir()
        (tmp_path / ".staging" / "dead-2.lock").touch()
        report = collect(store, dry_run=False)
        assert alive.exists()
        assert len(store.children(".locks")) == 1
    assert {".staging/dead-2", ".locks/labels-k"} <= {w.path for w in report.waste}
    assert store.children(".staging") == store.children(".work") == store.children(".locks") == []


def test_an_input_that_is_gone_stops_no_collection(tmp_path: Path, put) -> None:
    store = open_store(str(tmp_path))
    put(store, "labels", "k", created=ago(40), inputs={"x": Ref(kind="images", key="gone")})
    assert [w.path for w in collect(store, dry_run=False).waste] == ["labels/k"]


def test_an_empty_store_is_no_error(store: Store) -> None:
    assert collect(store, dry_run=False).waste == ()
