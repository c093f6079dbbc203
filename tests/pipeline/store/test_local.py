import errno
import os
import shutil
import subprocess
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.store import FileStore, Store, open_store
from pipeline.store.verify import faults_of, verify


def test_without_hard_links_one_creator_still_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    store = open_store(str(tmp_path))
    with ThreadPoolExecutor(8) as pool:
        for n in range(20):
            won = list(pool.map(lambda who, n=n: store.create(f"x/{n}", str(who).encode()), range(8)))
            assert won.count(True) == 1
            assert store.read(f"x/{n}") == str(won.index(True)).encode()
    assert store.children(".staging") == store.children(".locks") == []


def test_of_many_creators_exactly_one_wins(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    with ThreadPoolExecutor(8) as pool:
        for n in range(20):
            won = list(pool.map(lambda who, n=n: store.create(f"x/{n}", str(who).encode() * 9999), range(8)))
            assert won.count(True) == 1
            assert store.read(f"x/{n}") == str(won.index(True)).encode() * 9999


def test_of_many_publishers_exactly_one_wins(tmp_path: Path, put) -> None:
    store = open_store(str(tmp_path))
    with ThreadPoolExecutor(6) as pool:
        for n in range(15):
            files = [{"a": f"{who}".encode() * 1000, "b": f"{who}".encode()} for who in range(6)]
            made = list(pool.map(lambda f, n=n: put(store, "labels", f"k{n}", f), files))
            assert len({m.ref for m in made}) == 1
            assert faults_of(made[0]) == ()
    assert store.children(".staging") == []


def test_a_replaced_object_is_never_seen_mixed(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.replace("x", b"0" * 100_000)
    stop = threading.Event()
    torn = []

    def watch() -> None:
        while not stop.is_set():
            seen = store.read("x") or b"?"
            if len(seen) != 100_000 or len(set(seen)) != 1:
                torn.append(seen[:10])

    with ThreadPoolExecutor(3) as pool:
        watchers = [pool.submit(watch) for _ in range(3)]
        for n in range(60):
            store.replace("x", str(n % 10).encode() * 100_000)
        stop.set()
        for watcher in watchers:
            watcher.result()
    assert torn == []


def test_a_folder_without_manifest_is_put_aside(tmp_path: Path, put) -> None:
    store = open_store(str(tmp_path))
    store.replace("labels/k1/half.bin", b"from nobody knows where")
    made = put(store, "labels", "k1")
    assert faults_of(made) == ()
    assert [Path(e.path).name for e in store.entries("trash")] == ["half.bin"]


def test_an_empty_folder_of_that_name_does_not_matter(tmp_path: Path, put) -> None:
    (tmp_path / "labels" / "k1").mkdir(parents=True)
    assert faults_of(put(open_store(str(tmp_path)), "labels", "k1")) == ()


def test_the_lock_is_one_at_a_time_and_free_afterwards(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    inside: list[int] = []

    def hold(_: int) -> int:
        with store.lock("labels", "k1"):
            inside.append(1)
            most = len(inside)
            time.sleep(0.005)
            inside.pop()
            return most

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(hold, range(24))) == {1}
    assert store.children(".locks") == []


HOLD = """
import os, sys, time
from pipeline.store import open_store
store = open_store(sys.argv[1])
with store.lock("labels", "k1"), store.staging("labels", "k1") as folder:
    (folder / "half").write_bytes(b"x")
    if sys.argv[2] == "fork" and os.fork() == 0:
        time.sleep(30)
    print(os.getpid(), flush=True)
    time.sleep(30)
"""


@pytest.mark.parametrize("forks", ["alone", "fork"])
def test_a_killed_holder_frees_the_lock_and_its_folder_is_swept(tmp_path: Path, put, forks: str) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), forks], stdout=subprocess.PIPE, start_new_session=True
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    store = open_store(str(tmp_path))
    assert len(store.children(".staging")) == 2
    assert store.sweep() == []  # it lives
    holder.kill()
    holder.wait()
    started = time.monotonic()
    with store.lock("labels", "k1"):  # though a forked worker of the holder may still be there
        assert time.monotonic() - started < 5
        put(store, "labels", "k1")
    assert store.children(".staging") == store.children(".locks") == []
    if forks == "fork":
        os.killpg(holder.pid, 9)
    holder.stdout.close()


def test_sweeping_never_takes_the_folder_of_a_living_owner(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    stop = threading.Event()

    def sweep() -> None:
        while not stop.is_set():
            store.sweep()

    def work(n: int) -> bool:
        with store.staging("labels", f"k{n}") as folder:
            (folder / "a").write_bytes(b"a")
            time.sleep(0.002)
            return (folder / "a").exists()

    with ThreadPoolExecutor(8) as pool:
        sweepers = [pool.submit(sweep) for _ in range(3)]
        assert all(pool.map(work, range(200)))
        stop.set()
        for sweeper in sweepers:
            sweeper.result()


def test_symlinks_in_a_store_are_files_not_ways_out(tmp_path: Path, put) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"mine")
    store = open_store(str(tmp_path / "store"))
    put(store, "labels", "k1")
    (tmp_path / "store" / "labels" / "link").symlink_to(outside)
    assert all("precious" not in e.path for e in store.entries(""))
    store.remove("labels/link")
    store.remove("labels")
    assert (outside / "precious").read_bytes() == b"mine"


def test_a_store_behind_a_symlink_is_a_store(tmp_path: Path, put) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    put(open_store(str(tmp_path / "link")), "labels", "k1")
    assert open_store(str(tmp_path / "real")).find("labels", "k1") is not None


def test_a_relative_store_stays_where_it_was_opened(tmp_path: Path, put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("my störe")
    monkeypatch.chdir("/")
    put(store, "labels", "k1")
    assert (tmp_path / "my störe" / "labels" / "k1" / "manifest.json").exists()


def test_a_store_beside_the_working_folder_is_a_store(tmp_path: Path, put, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    put(open_store("../store"), "labels", "k1")
    assert open_store(str(tmp_path / "store")).find("labels", "k1") is not None


def test_a_store_moved_elsewhere_still_works(tmp_path: Path, put) -> None:
    put(open_store(str(tmp_path / "here")), "labels", "k1")
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert [v.faults for v in verify(open_store(str(tmp_path / "there")))] == [()]


@pytest.mark.slow
def test_a_huge_store_is_listed_in_little_memory(tmp_path: Path) -> None:
    folders = [tmp_path / f"kind/{n:03d}" for n in range(200)]
    for folder in folders:
        folder.mkdir(parents=True)
        for n in range(100):
            (folder / f"{n:03d}").touch()
    store: Store = FileStore(tmp_path)
    tracemalloc.start()
    last, count = "", 0
    for entry in store.entries(""):
        assert entry.path > last
        last, count = entry.path, count + 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 1_000_000
