import hashlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.artifacts import Artifact, Ref
from pipeline.errors import ContractError, MissingArtifactError, UserError
from pipeline.store import Store, open_store
from pipeline.store.published import latest, publish_labels, read_version, refresh, rollback, versions
from pipeline.store.runs import begin_run, save_run

GATE = {"gate": {"verdict": "proven", "open": True}, "counts": {"keep": 7, "relabel": 3}}


def at(hours: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat(timespec="milliseconds")


def table(number: int, rows: int = 10) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"n": [number] * rows, "row": list(range(rows))}), sink)
    return sink.getvalue().to_pybytes()


@pytest.fixture
def labels(put):
    """Make a labels artifact of its own annotations: labels(store, 3, hours=-2)."""

    def make(store: Store, number: int, hours: float = 0, rows: int = 10) -> Artifact:
        notes = put(store, "annotations", f"notes{number}", created=at(hours))
        content = {"labels.parquet": table(number, rows)}
        return put(store, "labels", f"labels{number}", content, metrics=GATE, inputs={"annotations": notes.ref})

    return make


def newest_table(store: Store, dataset: str = "photos") -> int:
    data = store.read(f"published/{dataset}/labels.parquet")
    return int(pq.read_table(pa.BufferReader(data)).column("n")[0].as_py())


def test_a_version_says_all_about_its_table(store: Store, labels) -> None:
    made = labels(store, 1)
    version = publish_labels(store, "photos", made.ref, run="run-1")
    assert version == latest(store, "photos") == read_version(store, "photos", 1)
    assert (version.n, version.labels, version.gate, version.run) == (1, made.ref, "proven", "run-1")
    assert version.counts == {"keep": 7, "relabel": 3}
    assert version.annotations == made.manifest.inputs["annotations"]
    content = store.read(f"published/photos/{version.file}")
    assert content == table(1) == store.read("published/photos/labels.parquet")
    assert hashlib.sha256(content).hexdigest() == version.sha256
    assert version.bytes == len(content)
    assert json.loads(store.read("published/photos/latest.json")) == version.model_dump(mode="json")
    assert version.file == "labels-1-labels1.parquet"


def test_numbers_grow_and_old_versions_stay(tmp_path: Path, labels) -> None:
    store = open_store(str(tmp_path))
    for n in range(1, 12):
        assert publish_labels(store, "photos", labels(store, n).ref).n == n
    publish_labels(store, "other", labels(store, 99).ref)
    assert [v.n for v in versions(store, "photos")] == list(range(1, 12))
    assert newest_table(store) == 11
    assert store.read("published/photos/labels-1-labels1.parquet") == table(1)


def test_rolling_back_is_a_new_version_of_old_content(store: Store, labels) -> None:
    first = publish_labels(store, "photos", labels(store, 1).ref)
    publish_labels(store, "photos", labels(store, 2).ref)
    back = rollback(store, "photos", 1)
    assert (back.n, back.rollback_of, back.file, back.sha256) == (3, 1, first.file, first.sha256)
    assert latest(store, "photos") == back
    assert newest_table(store) == 1
    assert [v.n for v in versions(store, "photos")] == [1, 2, 3]


def test_a_version_that_is_not_there_names_those_that_are(store: Store, labels) -> None:
    with pytest.raises(MissingArtifactError, match="has no version 1; it has: none"):
        rollback(store, "photos", 1)
    publish_labels(store, "photos", labels(store, 1).ref)
    with pytest.raises(MissingArtifactError, match="dataset 'photos' has no version 7; it has: 1"):
        rollback(store, "photos", 7)
    assert latest(store, "nothing") is None
    assert versions(store, "nothing") == []


def test_older_annotations_do_not_cover_newer_ones(tmp_path: Path, labels) -> None:
    store = open_store(str(tmp_path))
    old, new = labels(store, 1, hours=-2), labels(store, 2, hours=-1)
    publish_labels(store, "photos", new.ref)
    with pytest.raises(UserError, match=r"labels/labels1 rests on annotations read at .*version 1 .*--force"):
        publish_labels(store, "photos", old.ref)
    assert [v.n for v in versions(store, "photos")] == [1]
    assert publish_labels(store, "photos", old.ref, force=True).n == 2
    assert newest_table(store) == 1


def test_a_slow_run_does_not_cover_a_newer_one(tmp_path: Path, labels) -> None:
    store = open_store(str(tmp_path))
    slow, quick = begin_run(store, "photos"), begin_run(store, "photos")
    save_run(store, slow.model_copy(update={"started": at(-3)}))
    save_run(store, quick.model_copy(update={"started": at(-2)}))
    publish_labels(store, "photos", labels(store, 2, hours=-2).ref, run=quick.id)
    with pytest.raises(UserError, match="rests on annotations read at"):
        publish_labels(store, "photos", labels(store, 1, hours=-1).ref, run=slow.id)


def test_labels_changed_and_changed_back_are_published_by_todays_run(tmp_path: Path, labels) -> None:
    store = open_store(str(tmp_path))
    before, changed = labels(store, 1, hours=-3), labels(store, 2, hours=-2)
    publish_labels(store, "photos", before.ref)
    publish_labels(store, "photos", changed.ref)
    assert publish_labels(store, "photos", before.ref, run=begin_run(store, "photos").id).n == 3


def test_the_same_annotations_may_always_be_published_again(tmp_path: Path, labels, put) -> None:
    store = open_store(str(tmp_path))
    made = labels(store, 1, hours=-2)
    publish_labels(store, "photos", made.ref, run=begin_run(store, "photos").id)
    content = {"labels.parquet": table(5)}
    other = put(store, "labels", "other-options", content, inputs=made.manifest.inputs)
    assert publish_labels(store, "photos", other.ref).n == 2


def test_a_run_that_began_before_a_rollback_does_not_undo_it(tmp_path: Path, labels) -> None:
    store = open_store(str(tmp_path))
    for n in (1, 2):
        publish_labels(store, "photos", labels(store, n, hours=n - 5).ref)
    run = begin_run(store, "photos")
    save_run(store, run.model_copy(update={"started": at(-0.01)}))
    rollback(store, "photos", 1)
    with pytest.raises(UserError, match="rests on annotations read at"):
        publish_labels(store, "photos", labels(store, 3).ref, run=run.id)


def test_a_damaged_table_is_not_published(tmp_path: Path, labels) -> None:
    store = open_store(str(tmp_path))
    made = labels(store, 1)
    file = made.path("labels.parquet")
    file.write_bytes(b"r" * file.stat().st_size)
    with pytest.raises(ContractError, match=r"labels.parquet of labels/labels1 is not as it was written"):
        publish_labels(store, "photos", made.ref)
    assert versions(store, "photos") == []


def test_what_a_dead_publisher_left_stops_nobody(store: Store, labels) -> None:
    made = labels(store, 1)
    store.create("published/photos/labels-1-labels1.parquet", table(1))  # died before its version: same content
    assert publish_labels(store, "photos", made.ref).n == 1
    store.create("published/photos/labels-2-labels1.parquet", b"other content under our name")
    version = publish_labels(store, "photos", made.ref)
    assert (version.n, newest_table(store)) == (3, 1)
    assert store.read("published/photos/labels-2-labels1.parquet") == b"other content under our name"


def test_stale_copies_are_brought_up_to_date(tmp_path: Path, labels) -> None:
    store = open_store(str(tmp_path))
    publish_labels(store, "photos", labels(store, 1).ref)
    publish_labels(store, "photos", labels(store, 2).ref)
    store.replace("published/photos/latest.json", b"{}")  # its publisher was killed before the copies
    store.replace("published/photos/labels.parquet", table(1))
    refresh(store, "photos")
    assert newest_table(store) == 2
    assert json.loads(store.read("published/photos/latest.json"))["n"] == 2


def test_many_publishers_at_once_all_get_numbers_of_their_own(store: Store, labels) -> None:
    made = [labels(store, n) for n in range(6)]
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda a: publish_labels(store, "photos", a.ref, force=True), [*made, made[0], made[0]]))
    assert sorted(v.n for v in done) == list(range(1, 9))
    for version in versions(store, "photos"):
        content = store.read(f"published/photos/{version.file}")
        assert content is not None
        assert hashlib.sha256(content).hexdigest() == version.sha256
    newest = latest(store, "photos")
    assert newest is not None
    assert json.loads(store.read("published/photos/latest.json")) == newest.model_dump(mode="json")
    assert store.read("published/photos/labels.parquet") == store.read(f"published/photos/{newest.file}")
    named = {v.file for v in versions(store, "photos")}
    assert {Path(e.path).name for e in store.entries("published/photos") if "labels-" in e.path} == named


@pytest.mark.slow
def test_fifty_readers_never_see_a_torn_table_during_a_hundred_publishes(tmp_path: Path, labels) -> None:
    store = open_store(str(tmp_path))
    home = tmp_path / "published" / "photos"
    publish_labels(store, "photos", labels(store, 1, rows=1001).ref)
    over, reads, faults = threading.Event(), [0] * 50, []

    def check(frame: pa.Table) -> int:
        n = int(frame.column("n")[0].as_py())
        assert frame.num_rows == 1000 + n % 7
        assert frame.column("n").unique().to_pylist() == [n]
        return n

    def read_once(seen: int) -> int:
        with (home / "labels.parquet").open("rb") as file:  # by its path pyarrow would open it twice
            n = check(pq.read_table(file))
        named = json.loads((home / "latest.json").read_bytes())
        assert check(pq.read_table(home / named["file"])) == named["n"]
        assert hashlib.sha256((home / named["file"]).read_bytes()).hexdigest() == named["sha256"]
        assert n >= seen, f"went back from {seen} to {n}"
        return n

    def reader(who: int) -> None:
        seen = 1
        while not over.is_set():
            try:
                seen = read_once(seen)
            except Exception as error:  # noqa: BLE001 (any fault at all is the finding)
                faults.append(repr(error))
            reads[who] += 1

    def publisher(numbers: range) -> None:
        for n in numbers:
            publish_labels(store, "photos", labels(store, n, rows=1000 + n % 7).ref, force=True)

    threads = [threading.Thread(target=reader, args=(who,)) for who in range(50)]
    for thread in threads:
        thread.start()
    publisher(range(2, 102))
    over.set()
    for thread in threads:
        thread.join()
    assert faults == []
    assert min(reads) > 0
    assert newest_table(store) == 101


def test_publishing_what_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifactError, match="artifact labels/none is not in store"):
        publish_labels(open_store(str(tmp_path)), "photos", Ref(kind="labels", key="none"))
