import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.artifacts import Manifest, list_files
from pipeline.errors import PuriflowError, StoreError, UnsafeError
from pipeline.store import FileStore, open_store, utc_now
from pipeline.store.cache import cache_folder
from pipeline.store.verify import faults_of

ROUNDS = 8

RACER = """
import sys
from pathlib import Path
from pipeline.artifacts import Manifest, list_files
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


@pytest.mark.parametrize(
    ("url", "error", "text"),
    [
        ("http://host/x", StoreError, "cannot be written over http"),
        ("nosuch://host/x", StoreError, "cannot be opened"),
        ("s3://", StoreError, "not an address"),
        ("simplecache::s3://bucket/x", StoreError, "not an address"),
        ("s3://bucket/x?key=abc", StoreError, "not an address"),
        ("s3://key:secret@bucket/x", UnsafeError, "must not contain credentials"),
        ("file://host/x", StoreError, "names the host 'host'"),
    ],
)
def test_addresses_that_cannot_be_stores_are_refused(url: str, error: type[PuriflowError], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        open_store(url).read("x")
    assert "secret" not in str(caught.value).replace("AWS_SECRET", "")


def test_file_urls_are_folders(tmp_path: Path) -> None:
    store = open_store((tmp_path / "ä b").as_uri())
    assert isinstance(store, FileStore)
    assert store.root == tmp_path / "ä b"


def test_a_closed_port_is_a_quick_clear_error(s3_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    started = time.monotonic()
    with pytest.raises(StoreError, match=r"s3://bucket/x cannot be reached .*AWS_ENDPOINT_URL.*nothing was lost"):
        open_store("s3://bucket/x").find("labels", "k1")
    assert time.monotonic() - started < 15
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_a_missing_bucket_is_a_clear_error(s3_environment: None) -> None:
    store = open_store(f"s3://bucket-{uuid.uuid4().hex}/x")
    for act in (lambda: store.read("a"), lambda: store.children(""), lambda: store.create("a", b"")):
        with pytest.raises(StoreError, match=r"is not there .*bucket does not exist.*Create the bucket"):
            act()


def test_missing_credentials_are_a_clear_error(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(StoreError, match="no credentials for store"):
        open_store(s3_url).read("a")
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_a_missing_s3fs_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(StoreError, match=r"needs s3fs. pip install 'puriflow\[s3\]'"):
        open_store("s3://bucket/x").read("a")


def test_credentials_are_never_written(s3_url: str, put, tmp_path: Path) -> None:
    store = open_store(s3_url)
    put(store, "labels", "k1").paths()
    store.create("published/x", b"1")
    written = [store.read(e.path) or b"" for e in store.entries("")]
    written += [p.read_bytes() for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    assert len(written) > 3
    assert not any(b"not-a-secret" in content or b"tester" in content for content in written)


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
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


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
    with pytest.raises(StoreError, match="Not a directory"), open_store("memory://x/y").staging("labels", "k1"):
        pass


def test_a_lost_answer_to_our_own_put_is_still_a_win(s3_url: str, put, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(s3_url)
    store.create("warm up", b"")  # the probe
    real = store.create
    with monkeypatch.context() as patch:
        patch.setattr(store, "create", lambda path, data: (real(path, data), real(path, data))[1])
        made = put(store, "labels", "k1")
    assert faults_of(made) == ()


def test_old_leftovers_of_dead_processes_are_swept_from_this_machine(s3_url: str, put) -> None:
    dead = cache_folder() / "staging" / "labels-x-1"
    dead.mkdir(parents=True)
    dead.with_name("labels-x-1.lock").touch()
    assert open_store(s3_url).sweep() == ["staging/labels-x-1"]
    assert not dead.exists()


@pytest.mark.slow
def test_an_artifact_bigger_than_one_part_comes_back(s3_url: str, tmp_path: Path) -> None:
    store = open_store(s3_url)
    with store.staging("labels", "big") as folder:
        with (folder / "big.bin").open("wb") as file:
            file.truncate(60 * 2**20)  # s3fs uploads more than 50 MiB in parts
        made = store.publish(folder, Manifest(kind="labels", key="big", files=list_files(folder), created=utc_now()))
    assert made.path("big.bin").stat().st_size == 60 * 2**20
