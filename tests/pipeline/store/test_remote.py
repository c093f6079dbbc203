import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.artifacts import Manifest, list_files
from pipeline.errors import StoreError
from pipeline.store import open_store, utc_now
from pipeline.store.verify import faults_of

ROUNDS = 8

RACER = """
import sys
from pathlib import Path
from pipeline.artifacts import Manifest, Ref, list_files
from pipeline.store import open_store
store, me = open_store(sys.argv[1]), sys.argv[2]
for line in sys.stdin:
    key = line.strip()
    with store.staging("labels", key) as folder:
        for name in ("a", "b"):
            (folder / name).write_text(f"{me} {key} {name}" * 100)
        won = store.publish(folder, Manifest(kind="labels", key=key, files=list_files(folder), created=me))
    assert all(p.read_text().startswith(won.manifest.created) for p in won.paths())
    print(won.manifest.parts, flush=True)
"""


class Liar(MemoryFileSystem):
    """A file system whose exclusive create is a lie, as of an old object store that ignores If-None-Match."""

    protocol = "liar"
    store: dict[str, Any] = {}  # noqa: RUF012 (as in the class above)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        super().pipe_file(path, value, mode="overwrite", **kwargs)


def test_two_processes_publishing_one_key_have_one_winner(s3_url: str) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-W", "error::ResourceWarning", "-c", RACER, s3_url, me],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )
        for me in ("red", "blue")
    ]  # fmt: skip
    store = open_store(s3_url)
    for n in range(ROUNDS):
        for racer in racers:
            print(f"key{n}", file=racer.stdin, flush=True)
        answers = {racer.stdout.readline().strip() for racer in racers}
        found = store.find("labels", f"key{n}")
        assert found is not None
        assert answers == {found.manifest.parts}
        assert faults_of(found) == ()
    for racer in racers:
        racer.stdin.close()
        assert racer.wait(20) == 0
        racer.stdout.close()
    left = [e.path for e in store.entries("labels") if "/parts/" in e.path]
    assert len(left) == 2 * ROUNDS  # the losers took their parts away


def test_of_many_creators_exactly_one_wins(s3_url: str) -> None:
    def create(who: int) -> bool:
        barrier.wait()
        return store.create("published/d/1.json", str(who).encode())

    store, barrier = open_store(s3_url), threading.Barrier(8)
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(8)))
    assert won.count(True) == 1
    assert store.read("published/d/1.json") == str(won.index(True)).encode()


def test_an_upload_that_is_never_finished_is_no_artifact(s3_url: str, put, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(s3_url)
    with monkeypatch.context() as patch:
        patch.setattr(store, "create", lambda *_: (_ for _ in ()).throw(StoreError("killed before the manifest.")))
        patch.setattr(store, "_drop", lambda _: None)
        with pytest.raises(StoreError, match="killed before"):
            put(store, "labels", "k1")
    assert store.find("labels", "k1") is None
    assert len(store.children("labels/k1/parts")) == 1
    assert faults_of(put(store, "labels", "k1")) == ()


def test_looking_an_artifact_up_is_one_request(s3_url: str, put, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(s3_url)
    put(store, "labels", "k1")
    calls: list[str] = []
    fs = store._fs
    real = type(fs)._call_s3

    async def counted(self: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        calls.append(method)
        return await real(self, method, *args, **kwargs)

    monkeypatch.setattr(type(fs), "_call_s3", counted)
    assert store.find("labels", "k1") is not None
    assert calls == ["get_object"]


def test_a_lying_file_system_is_refused_before_anything_is_written(put) -> None:
    fsspec.register_implementation("liar", Liar, clobber=True)
    store = open_store("liar://bucket/store")
    for write in (lambda: put(store, "labels", "k1"), lambda: store.create("x", b""), lambda: store.replace("x", b"")):
        with pytest.raises(StoreError, match=r"cannot create an object exclusively.*honours If-None-Match"):
            write()
    assert Liar.store == {}


def test_an_s3_service_that_ignores_the_condition_is_refused(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(s3_url)
    real = type(store._fs)._call_s3

    async def ignore(self: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        kwargs.pop("IfNoneMatch", None)
        return await real(self, method, *args, **kwargs)

    monkeypatch.setattr(type(store._fs), "_call_s3", ignore)
    with pytest.raises(StoreError, match="cannot create an object exclusively"):
        store.create("x", b"")
    assert list(store.entries("")) == []


def test_a_program_that_used_s3_ends_without_a_word(s3_url: str) -> None:
    code = f"from pipeline.store import open_store; s = open_store({s3_url!r}); s.create('a', b'1'); s.read('a')"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_forked_worker_reads_from_s3(s3_url: str) -> None:
    code = f"""
import os
from pipeline.store import open_store
store = open_store({s3_url!r})
store.create("a", b"1")
if (child := os.fork()) == 0:
    os._exit(0 if store.read("a") == b"1" else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_lost_answer_to_our_own_put_is_still_a_win(s3_url: str, put, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(s3_url)
    store.create("warm up", b"")  # the probe
    real = store.create
    with monkeypatch.context() as patch:
        patch.setattr(store, "create", lambda path, data: (real(path, data), real(path, data))[1])
        made = put(store, "labels", "k1")
    assert faults_of(made) == ()


@pytest.mark.slow
def test_an_artifact_bigger_than_one_part_comes_back(s3_url: str, tmp_path: Path) -> None:
    store = open_store(s3_url)
    with store.staging("labels", "big") as folder:
        with (folder / "big.bin").open("wb") as file:
            file.truncate(60 * 2**20)  # s3fs uploads more than 50 MiB in parts
        made = store.publish(folder, Manifest(kind="labels", key="big", files=list_files(folder), created=utc_now()))
    assert made.path("big.bin").stat().st_size == 60 * 2**20
