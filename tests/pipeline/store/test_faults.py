import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.artifacts import Manifest, Ref, list_files
from pipeline.errors import DiskFullError, StoreError
from pipeline.store import open_store
from pipeline.store.faults import explain_local
from pipeline.store.verify import faults_of, verify


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount one megabyte where the machine lets us; else the test is told by a skip what it misses."""
    folder = tmp_path / "small disk"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, b"size=1m") != 0:
        pytest.skip(f"cannot mount a tmpfs here ({os.strerror(ctypes.get_errno())}); ENOSPC is simulated elsewhere")
    yield folder
    libc.umount2(os.fsencode(folder), 2)


def test_a_full_disk_is_a_clear_error_and_loses_nothing(small_disk: Path, put) -> None:
    store = open_store(str(small_disk / "store"))
    old = put(store, "labels", "old", {"data": b"x" * 300_000})
    with store.staging("labels", "new") as folder:
        (folder / "data").write_bytes(b"y" * 600_000)
        files = list_files(folder)
        fill = small_disk / "fill"
        with suppress(OSError), fill.open("wb", buffering=0) as file:
            while True:
                file.write(b"z" * 4096)
        with pytest.raises(DiskFullError, match=r"no space left in store .*store gc.*nothing was lost"):
            store.publish(folder, Manifest(kind="labels", key="new", files=files))
    for write in (store.create, store.replace):
        with pytest.raises(DiskFullError, match="no space left"):
            write("published/d/table", b"t" * 900_000)
    with pytest.raises(DiskFullError, match="no space left"):
        store.replace("runs/1.json", b"t" * 900_000)
    fill.unlink()
    assert faults_of(old) == ()
    assert store.find("labels", "new") is None
    assert store.children("published/d") == store.children(".staging") == []
    assert put(store, "labels", "new", {"data": b"y" * 300_000}).key == "new"


@pytest.mark.parametrize("call", ["fsync", "link", "mkdir"])
def test_space_that_ends_at_any_call_is_a_clear_error(
    tmp_path: Path, put, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_args: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = open_store(str(tmp_path / "store"))
    put(store, "labels", "old")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(DiskFullError, match="no space left in store"):
            store.create("published/d/1", b"1")
    assert store.read("published/d/1") is None
    assert store.create("published/d/1", b"1")
    assert all(v.faults == () for v in verify(store))
    assert store.children(".staging") == []


def test_a_store_that_cannot_be_written_is_a_clear_error(put) -> None:
    """/proc refuses even root."""
    for act in (lambda s: put(s, "labels", "k"), lambda s: s.create("x", b""), lambda s: s.lock("a", "b").__enter__()):
        with pytest.raises(StoreError, match=r"store /proc/nowhere .*(failed|may not)"):
            act(open_store("/proc/nowhere"))


def test_a_store_below_a_file_is_a_clear_error(tmp_path: Path, put) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = open_store(str(tmp_path / "file" / "store"))
    assert store.find("labels", "k") is None
    with pytest.raises(StoreError, match=r"store .*file/store failed: .*Check that it is a folder"):
        put(store, "labels", "k")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_a_clear_error_and_still_readable(tmp_path: Path, put) -> None:
    store = open_store(str(tmp_path / "store"))
    put(store, "labels", "k")
    (tmp_path / "store").chmod(0o555)
    try:
        with pytest.raises(StoreError, match=r"may not be written.*Mend its rights"):
            put(store, "images", "k")
        assert faults_of(store.get(Ref(kind="labels", key="k"))) == ()
    finally:
        (tmp_path / "store").chmod(0o755)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.EROFS, "may not be written or read here .*Mend its rights"),
        (errno.EACCES, "may not be written or read here"),
        (errno.EDQUOT, "no space left"),
        (errno.ENOLCK, "file system without locks .*s3://"),
        (errno.EIO, "failed: Input/output error"),
    ],
)
def test_faults_of_the_system_are_said_in_words(number: int, text: str) -> None:
    with pytest.raises(StoreError, match=text):
        raise explain_local(OSError(number, os.strerror(number)), "/the/store")
