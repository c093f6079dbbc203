"""Folders and locks that belong to a living process: the kernel frees them at its death, and the next one sweeps."""

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_held: set[int] = set()


@contextmanager
def private_folder(home: Path, label: str) -> Iterator[Path]:
    """Own a fresh folder below `home` until the end of the block or of this process; sweep those of the dead."""
    home.mkdir(parents=True, exist_ok=True)
    sweep_dead(home)
    folder = home / f"{label}-{uuid.uuid4().hex}"
    with locked(folder.with_name(folder.name + ".lock")):
        try:
            folder.mkdir()
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a kernel lock; its file goes away with its holder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = open_locked(path)
    _held.add(handle)
    try:
        yield
    finally:
        if handle in _held:  # not so in a forked child, which owns nothing
            path.unlink(missing_ok=True)
            _release(handle)


def open_locked(path: Path) -> int:
    """Open and lock a lock file that is still the one with this name when the lock is had."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if _is_named(handle, path):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def sweep_dead(home: Path) -> list[str]:
    """Remove the private folders and lock files in `home` that no living process holds; name them."""
    swept = []
    for lock in home.glob("*.lock"):
        try:
            handle = os.open(lock, os.O_RDWR)
        except OSError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_named(handle, lock):  # else another sweeper was here and the name may be a living owner's by now
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink(missing_ok=True)
                swept.append(lock.stem)
        except BlockingIOError:
            continue
        finally:
            os.close(handle)
    return swept


def _is_named(handle: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), path.stat())
    return False


def _release(handle: int) -> None:
    _held.discard(handle)
    os.close(handle)


def _let_go() -> None:
    for handle in list(_held):
        with suppress(OSError):
            _release(handle)


# A forked worker would share its parent's locks and, outliving it, hold them after its death.
os.register_at_fork(after_in_child=_let_go)
