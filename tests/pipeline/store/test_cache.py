import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.artifacts import Ref
from pipeline.errors import DiskFullError, StoreError
from pipeline.store import open_store
from pipeline.store.cache import cache_folder


def test_fetched_files_are_kept_by_content_and_checked(s3_url: str, put) -> None:
    store = open_store(s3_url)
    made = put(store, "labels", "k1", {"x.bin": b"same"})
    twin = put(store, "labels", "k2", {"x.bin": b"same"})
    assert made.path("x.bin") == twin.path("x.bin")
    made.path("x.bin").unlink()
    store.replace(f"labels/k1/{made.manifest.parts}/x.bin", b"evil")
    with pytest.raises(StoreError, match=r"'x.bin' came with checksum .*, its manifest says .*store verify"):
        made.path("x.bin")
    assert twin.path("x.bin").read_bytes() == b"same"


def test_many_fetching_at_once_download_once(s3_url: str, put, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(s3_url)
    made = put(store, "labels", "k1", {"x.bin": b"x" * 100_000})
    downloads = []
    real = store._fs.get_file
    monkeypatch.setattr(store._fs, "get_file", lambda *a, **k: (downloads.append(1), real(*a, **k)))
    with ThreadPoolExecutor(6) as pool:
        contents = list(pool.map(lambda _: made.path("x.bin").read_bytes(), range(6)))
    assert contents == [b"x" * 100_000] * 6
    assert len(downloads) == 1


def test_the_cache_is_private_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PURIFLOW_CACHE", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cache_folder().parent == tmp_path
    assert cache_folder().stat().st_mode & 0o077 == 0
    monkeypatch.setattr("os.getuid", lambda: 12345)
    (tmp_path / "puriflow-12345").mkdir()
    with pytest.raises(StoreError, match="belongs to another user"):
        cache_folder()


def test_a_cache_that_cannot_be_made_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("PURIFLOW_CACHE", str(tmp_path / "file" / "cache"))
    with (
        pytest.raises(StoreError, match=r"cache folder .*Not a directory.*PURIFLOW_CACHE"),
        open_store("memory://x/y").staging("labels", "k1"),
    ):
        pass


def test_old_leftovers_of_dead_processes_are_swept_from_this_machine(s3_url: str, put) -> None:
    dead = cache_folder() / "staging" / "labels-x-1"
    dead.mkdir(parents=True)
    dead.with_name("labels-x-1.lock").touch()
    assert open_store(s3_url).sweep() == ["staging/labels-x-1"]
    assert not dead.exists()


def test_cached_files_go_when_nobody_asked_for_them_in_a_long_time(s3_url: str, put) -> None:
    store = open_store(s3_url)
    old, used = (put(store, "labels", key).path("data.bin") for key in ("old", "used"))
    for path in (old, used):
        os.utime(path, (1e9, 1e9))
    store.get(Ref(kind="labels", key="used")).path("data.bin")
    assert store.sweep() == [old.relative_to(cache_folder()).as_posix()]
    assert used.exists()
    assert not old.exists()


def test_a_full_disk_of_this_machine_is_not_blamed_on_the_service(
    s3_url: str, put, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(s3_url)
    made = put(store, "labels", "k1")

    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store._fs, "get_file", full)
    with pytest.raises(DiskFullError, match=r"no space left on this machine .*PURIFLOW_CACHE"):
        made.path("data.bin")


def test_the_work_folder_of_a_dead_run_is_swept(s3_url: str) -> None:
    store = open_store(s3_url)
    dead = cache_folder() / "work" / "run-1"
    dead.mkdir(parents=True)
    dead.with_name("run-1.lock").touch()
    with store.work("run") as folder:
        assert folder.parent == dead.parent
        assert not dead.exists()
    assert list(dead.parent.iterdir()) == []
