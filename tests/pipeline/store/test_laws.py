"""What holds for every store: a folder, S3, and fsspec's memory."""

from pathlib import Path

import pytest

from pipeline.artifacts import Manifest, Ref, list_files
from pipeline.errors import ContractError, MissingArtifactError, PuriflowError, UnsafeError
from pipeline.store import Store
from pipeline.store.verify import discard, verify

FILES = {"a[1] ü.txt": b"hello", "sub/folder/b.bin": bytes(range(256)), "empty": b""}


def test_what_was_published_comes_back(store: Store, put) -> None:
    made = put(store, "labels", "k1", FILES, metrics={"rows": 3})
    found = store.get(Ref(kind="labels", key="k1"))
    assert found.ref == made.ref
    assert found.metrics == {"rows": 3}
    assert {e.path: found.path(e.path).read_bytes() for e in found.manifest.files} == FILES
    assert [p.name for p in found.paths("sub/")] == ["b.bin"]


def test_the_first_wins_and_the_second_gets_the_winner(store: Store, put) -> None:
    first = put(store, "labels", "k1", {"data": b"first"})
    second = put(store, "labels", "k1", {"data": b"second"})
    assert second.manifest == first.manifest
    assert second.path("data").read_bytes() == b"first"
    assert len([e for e in store.entries("labels/k1") if e.path.endswith("data")]) == 1


def test_a_stage_that_fails_publishes_nothing(store: Store) -> None:
    staged = []

    def broken() -> None:
        with store.staging("labels", "k1") as folder:
            staged.append(folder)
            (folder / "half").write_bytes(b"x")
            raise RuntimeError("stage broke")

    with pytest.raises(RuntimeError, match="stage broke"):
        broken()
    assert store.find("labels", "k1") is None
    assert not staged[0].exists()
    assert store.children("labels") == []


def test_what_is_not_there_is_none_or_a_clear_error(store: Store) -> None:
    assert store.find("labels", "nope") is None
    assert store.read("labels/nope/manifest.json") is None
    assert store.children("labels") == []
    assert list(store.entries("labels")) == []
    with pytest.raises(MissingArtifactError, match=r"artifact labels/nope is not in store .*Run the stage"):
        store.get(Ref(kind="labels", key="nope"))


def test_a_name_can_be_created_once(store: Store) -> None:
    assert store.create("published/d/1.json", b"one")
    assert not store.create("published/d/1.json", b"two")
    assert store.read("published/d/1.json") == b"one"


def test_files_can_be_created_replaced_and_copied(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"from a file")
    assert store.create("x/a", source)
    store.replace("x/b", b"old")
    store.replace("x/b", source)
    store.copy("x/b", "y/c")
    store.copy("x/b", "y/c")
    assert [store.read(p) for p in ("x/a", "x/b", "y/c")] == [b"from a file"] * 3


def test_listing_stays_inside_the_prefix(store: Store) -> None:
    for path in ("k/key/b", "k/key/a/z", "k/key10/x", "other/1"):
        store.replace(path, b"12")
    assert [(e.path, e.bytes) for e in store.entries("k/key")] == [("k/key/a/z", 2), ("k/key/b", 2)]
    assert store.children("k") == ["key", "key10"]
    assert [e.path for e in store.entries("")] == ["k/key/a/z", "k/key/b", "k/key10/x", "other/1"]
    assert all(abs(e.modified - Path(__file__).stat().st_atime) < 1e9 and e.modified > 1.7e9 for e in store.entries(""))


def test_moving_and_removing_take_everything_below_and_nothing_beside(store: Store, put) -> None:
    put(store, "k", "key", FILES)
    put(store, "k", "key10")
    store.move("k/key", "trash/day/k/key")
    assert store.find("k", "key") is None
    assert store.find("k", "key10") is not None
    assert len(list(store.entries("trash/day/k/key"))) == 4
    store.remove("trash")
    store.remove("trash")
    assert list(store.entries("trash")) == []
    assert store.find("k", "key10") is not None


def test_all_artifacts_are_found_and_nothing_else(store: Store, put) -> None:
    refs = {put(store, kind, key).ref for kind, key in (("images", "1"), ("images", "2"), ("labels", "3"))}
    put(store, "checkpoints", "k/000001-a")
    store.replace("published/d/latest.json", b"{}")
    store.replace("images/half/data.bin", b"no manifest")
    assert {a.ref for a in store.artifacts()} == refs
    assert [a.key for a in store.artifacts("labels")] == ["3"]


@pytest.mark.parametrize("path", ["../outside", "labels/../../outside", "/etc/passwd"])
def test_paths_cannot_climb_out(store: Store, path: str) -> None:
    for act in (store.read, store.children, store.remove, lambda p: list(store.entries(p))):
        with pytest.raises(UnsafeError, match="leads out of store"):
            act(path)
    for write in (store.create, store.replace, store.move):
        with pytest.raises(UnsafeError, match="leads out of store"):
            write(path, b"x" if write != store.move else "y")  # type: ignore[arg-type]
    with pytest.raises(UnsafeError, match="leads out of store"):
        store.find("labels", f"../../{path}")


def test_a_forged_manifest_reads_nothing_outside(store: Store, put) -> None:
    made = put(store, "labels", "k1")
    files = [{"path": "../" * 12 + "etc/hostname", "bytes": 1, "sha256": "x"}]
    forged = Manifest.model_validate({**made.manifest.model_dump(), "files": files})
    with pytest.raises(UnsafeError, match="leads out of store"):
        store.fetch(forged, forged.files[0].path)


def test_a_manifest_nobody_can_read_is_a_clear_error(store: Store) -> None:
    store.replace("labels/k1/manifest.json", b'{"kind": "labels"')
    with pytest.raises(ContractError, match=r"manifest of labels/k1 in .* is not readable.*store verify"):
        store.find("labels", "k1")


def test_verify_passes_what_is_whole_and_names_what_is_not(store: Store, put) -> None:
    good = put(store, "a", "good")
    bad = put(store, "b", "bad", {"gone": b"1", "longer": b"2", "other": b"3"}, of=[good.ref])
    lonely = put(store, "c", "lonely", of=[Ref(kind="a", key="lost")])
    good.path("data.bin"), bad.path("other")  # in the cache of a remote store; verify must look past it
    parts = f"b/bad/{bad.manifest.parts}".rstrip("/")
    store.remove(f"{parts}/gone")
    store.replace(f"{parts}/longer", b"22")
    store.replace(f"{parts}/other", b"4")
    verdicts = {v.ref: v.faults for v in verify(store)}
    assert verdicts[good.ref] == ()
    assert verdicts[lonely.ref] == ("input 0 (a/lost) is gone",)
    assert verdicts[bad.ref] == (
        "gone is missing",
        "longer has 2 bytes, the manifest says 1",
        "other has other content than the manifest says",
    )


def test_nothing_is_left_beside_the_artifacts(store: Store, put, tmp_path: Path) -> None:
    put(store, "labels", "k1", FILES)
    with store.lock("labels", "k2"):
        store.create("published/x", b"1")
    for area in (".staging", ".locks"):
        assert store.children(area) == []
    local = tmp_path / "cache"
    assert not local.exists() or list((local / "staging").rglob("*")) == []


def test_an_artifact_of_no_files_is_one(store: Store) -> None:
    with store.staging("labels", "k0") as folder:
        store.publish(folder, Manifest(kind="labels", key="k0", files=list_files(folder)))
    assert store.get(Ref(kind="labels", key="k0")).manifest.files == ()


def test_a_file_that_is_lost_or_cut_short_is_named_with_the_remedy(store: Store, put) -> None:
    made = put(store, "labels", "k1", {"a.bin": b"aaaa", "b.bin": b"bbbb"})
    place = f"labels/k1/{made.manifest.parts}".rstrip("/")
    store.remove(f"{place}/a.bin")
    store.replace(f"{place}/b.bin", b"b")
    for name in ("a.bin", "b.bin"):
        with pytest.raises(PuriflowError, match=rf"{name}' .*store verify --discard"):
            made.path(name)


def test_discarding_takes_what_the_same_stage_made_of_it_and_no_more(store: Store, put) -> None:
    features = put(store, "features", "f", stage="embed")
    near = put(store, "neighbours", "n", stage="embed", of=[features.ref])
    put(store, "labels", "l", stage="purify", of=[features.ref, near.ref])
    assert sorted(discard(store, [("features", "f")])) == [("features", "f"), ("neighbours", "n")]
    assert [str(a.ref) for a in store.artifacts()] == ["labels/l"]


def test_a_torn_manifest_is_a_fault_that_can_be_discarded(store: Store, put) -> None:
    put(store, "labels", "k1")
    put(store, "labels", "k2")
    store.replace("labels/k1/manifest.json", b"{}")
    verdicts = {v.ref.key: v for v in verify(store)}
    assert "is not readable" in verdicts["k1"].faults[0]
    assert (verdicts["k1"].damaged, verdicts["k2"].damaged) == (True, False)
    discard(store, [("labels", "k1")])
    assert [a.key for a in store.artifacts()] == ["k2"]
