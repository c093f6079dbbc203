"""The store in a folder: staged on the same file system, fsynced, renamed in one step; kernel locks."""

import errno
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.artifacts import MANIFEST, Artifact, Manifest, artifact_path
from pipeline.errors import DiskFullError, StoreError, UnsafeError
from pipeline.store.store import Entry, Store


class FileStore(Store):
    """Artifacts as folders on a local or shared file system."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.url = str(self.root)

    @contextmanager
    def staging(self, kind: str, key: str) -> Iterator[Path]:
        """Give a fresh folder below `.staging`, and sweep those whose owner died."""
        with self.private_folder(".staging", f"{kind}-{key[:12].replace('/', '-')}") as folder:
            yield folder

    @contextmanager
    def private_folder(self, area: str, label: str) -> Iterator[Path]:
        """Own a folder below `.staging` or `.work` for as long as this process lives; sweep those of the dead."""
        with self._faults():
            home = self.root / area
            home.mkdir(parents=True, exist_ok=True)
            sweep_dead(home)
            folder = home / f"{label}-{uuid.uuid4().hex}"
            owner = open_locked(folder.with_name(folder.name + ".lock"))
        try:
            with self._faults():
                folder.mkdir()
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            folder.with_name(folder.name + ".lock").unlink(missing_ok=True)
            os.close(owner)

    def publish(self, folder: Path, manifest: Manifest) -> Artifact:
        """Write the manifest, sync everything, rename; losing the race is success."""
        target = self._place(artifact_path(manifest.kind, manifest.key))
        with self._faults():
            (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
            sync_tree(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                folder.rename(target)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                if not (target / MANIFEST).exists():  # a folder without manifest is no artifact: put it aside
                    self.move(artifact_path(manifest.kind, manifest.key), f"trash/{uuid.uuid4().hex}")
                    return self.publish(folder, manifest)
            sync_folder(target.parent)
        winner = self.find(manifest.kind, manifest.key)
        if winner is None:
            raise StoreError(f"{manifest.ref} vanished from {self.url} right after it was written.", "Run again.")
        return winner

    def fetch(self, manifest: Manifest, name: str) -> Path:
        """Hand out the store's own file."""
        return self._place(artifact_path(manifest.kind, manifest.key, name))

    @contextmanager
    def lock(self, kind: str, key: str) -> Iterator[None]:
        """Hold a kernel lock on the key; its file goes away with its last holder."""
        path = self.root / ".locks" / f"{kind}-{key}.lock"
        with self._faults():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = open_locked(path)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            os.close(handle)

    def read(self, path: str) -> bytes | None:
        """Read a small object, None where there is none."""
        with self._faults():
            try:
                return self._place(path).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def create(self, path: str, data: bytes | Path) -> bool:
        """Write beside, then link: the name appears with its whole content or not at all."""
        target = self._place(path)
        with self._faults():
            written = self._write_beside(target, data)
            try:
                os.link(written, target)
            except FileExistsError:
                return False
            finally:
                written.unlink()
            sync_folder(target.parent)
        return True

    def replace(self, path: str, data: bytes | Path) -> None:
        """Write beside, then rename over."""
        target = self._place(path)
        with self._faults():
            self._write_beside(target, data).replace(target)
            sync_folder(target.parent)

    def entries(self, prefix: str) -> Iterator[Entry]:
        """List all files below a prefix, in path order."""
        top = self._place(prefix)
        for path in sorted(top.rglob("*")):
            with suppress(FileNotFoundError):
                if path.is_file():
                    stat = path.stat()
                    yield Entry(path.relative_to(self.root).as_posix(), stat.st_size, stat.st_mtime)

    def children(self, prefix: str) -> list[str]:
        """List the names directly below a prefix, in order."""
        with self._faults():
            try:
                return sorted(p.name for p in self._place(prefix).iterdir())
            except (FileNotFoundError, NotADirectoryError):
                return []

    def move(self, source: str, target: str) -> None:
        """Rename a folder or file in one step."""
        place = self._place(target)
        with self._faults():
            place.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                self._place(source).rename(place)

    def remove(self, prefix: str) -> None:
        """Delete a file or folder; a folder is first renamed, so that it is never seen half empty."""
        place = self._place(prefix)
        with self._faults():
            if place.is_dir() and not place.is_symlink():
                doomed = self.root / ".staging" / f"removed-{uuid.uuid4().hex}"
                doomed.parent.mkdir(parents=True, exist_ok=True)
                place.rename(doomed)
                shutil.rmtree(doomed)
            else:
                place.unlink(missing_ok=True)

    def _place(self, path: str) -> Path:
        place = Path(os.path.normpath(self.root / path))
        if place != self.root and self.root not in place.parents:
            raise UnsafeError(f"path '{path}' leads out of store {self.url}.", "Use names inside the store.")
        return place

    def _write_beside(self, target: Path, data: bytes | Path) -> Path:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = self.root / ".staging"
        staging.mkdir(parents=True, exist_ok=True)
        written = staging / f"object-{uuid.uuid4().hex}"
        try:
            if isinstance(data, Path):
                shutil.copyfile(data, written)
            else:
                written.write_bytes(data)
            sync_file(written)
        except OSError:
            written.unlink(missing_ok=True)
            raise
        return written

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise explain(error, self.url) from error


def explain(error: OSError, url: str) -> StoreError:
    """Say in a user's words why a store could not be written or read."""
    what = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(
            f"no space left in store {url} ({what}).", "Free space (`puriflow store gc`), or name another --store; nothing was lost."
        )  # fmt: skip
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreError(f"store {url} may not be written or read here ({what}).", "Mend its rights or name another --store.")
    return StoreError(f"store {url} failed: {what}.", "Check that the folder is there and reachable.")


def open_locked(path: Path) -> int:
    """Open and lock a lock file that is still the one with this name when the lock is had."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        fcntl.flock(handle, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.fstat(handle).st_ino == path.stat().st_ino:
                return handle
        os.close(handle)


def sweep_dead(home: Path) -> None:
    """Remove private folders whose owner holds its lock no more."""
    for lock in home.glob("*.lock"):
        try:
            handle = os.open(lock, os.O_RDWR)
        except OSError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink(missing_ok=True)
        except BlockingIOError:
            pass
        finally:
            os.close(handle)


def sync_file(path: Path) -> None:
    """Wait until a file's content is on disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Wait until a folder's names are on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Wait until everything below a folder is on disk."""
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_folder(path)
        elif path.is_file():
            sync_file(path)
    sync_folder(folder)
