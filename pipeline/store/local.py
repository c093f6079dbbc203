"""The store in a folder: staged on the same file system, fsynced, renamed in one step; kernel locks."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from pipeline.artifacts import MANIFEST, Artifact, Manifest, artifact_path
from pipeline.errors import StoreError, UnsafeError
from pipeline.keys import file_sha256
from pipeline.store.faults import explain_local
from pipeline.store.private import locked, private_folder, sweep_dead
from pipeline.store.store import Entry, Store, damaged, trash_path

NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class FileStore(Store):
    """Artifacts as folders on a local or shared file system."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve() if ".." in root.parts else root.absolute()
        self.url = str(self.root)

    @contextmanager
    def staging(self, kind: str, key: str) -> Iterator[Path]:
        """Give a fresh folder below `.staging`, and sweep those whose owner died."""
        with self._private_folder(".staging", f"{kind}-{key[:12].replace('/', '-')}") as folder:
            yield folder

    def work(self, label: str) -> AbstractContextManager[Path]:
        """Give a folder beside the artifacts, so that big caches fit."""
        return self._private_folder(".work", label)

    @contextmanager
    def _private_folder(self, area: str, label: str) -> Iterator[Path]:
        """Own a folder below `.staging` or `.work` for as long as this process lives; sweep those of the dead."""
        with ExitStack() as stack:
            with self._faults():
                folder = stack.enter_context(private_folder(self.root / area, label))
            yield folder

    def publish(self, folder: Path, manifest: Manifest) -> Artifact:
        """Write the manifest, sync everything, rename; losing the race is success."""
        place = artifact_path(manifest.kind, manifest.key)
        target = self._place(place)
        with self._faults():
            (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
            sync_tree(folder)
            make_folder(target.parent)
            try:
                folder.rename(target)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                if not (target / MANIFEST).exists():  # a folder without manifest is no artifact: put it aside
                    self.move(place, trash_path(place))
                    return self.publish(folder, manifest)
            sync_folder(target.parent)
        winner = self.find(manifest.kind, manifest.key)
        if winner is None:
            raise StoreError(f"{manifest.ref} vanished from {self.url} right after it was written.", "Run again.")
        return winner

    def fetch(self, manifest: Manifest, name: str) -> Path:
        """Hand out the store's own file, which must be there in its full length."""
        path = self._file(manifest, name)
        with self._faults():
            bytes_found = path.stat().st_size if path.is_file() else None
        expected = manifest.entry(name).bytes
        if bytes_found is None:
            raise damaged(manifest, name, f"is missing in store {self.url}")
        if bytes_found != expected:
            raise damaged(manifest, name, f"has {bytes_found} bytes, its manifest says {expected}")
        return path

    def checksum(self, manifest: Manifest, name: str) -> tuple[int, str] | None:
        """Read one file again."""
        path = self._file(manifest, name)
        with self._faults():
            return (path.stat().st_size, file_sha256(path)) if path.is_file() else None

    @contextmanager
    def lock(self, kind: str, key: str) -> Iterator[None]:
        """Hold a kernel lock on the key."""
        with ExitStack() as stack:
            with self._faults():
                stack.enter_context(locked(self._place(f".locks/{kind}-{key.replace('/', '-')}.lock")))
            yield

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
        with self._written(target, data) as written:
            try:
                os.link(written, target)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                return self._create_locked(written, target)
        return True

    def replace(self, path: str, data: bytes | Path) -> None:
        """Write beside, then rename over."""
        target = self._place(path)
        with self._written(target, data) as written:
            written.replace(target)

    def copy(self, source: str, target: str) -> None:
        """Write a copy beside, then rename over."""
        self.replace(target, self._place(source))

    def entries(self, prefix: str) -> Iterator[Entry]:
        """List all files below a prefix, in path order."""
        for path in walk(self._place(prefix)):
            with suppress(FileNotFoundError):
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
            make_folder(place.parent)
            with suppress(FileNotFoundError):
                self._place(source).rename(place)

    def remove(self, prefix: str) -> None:
        """Delete a file or folder; it is first renamed, so that it is never seen half empty."""
        place = self._place(prefix)
        with self._faults(), private_folder(self.root / ".staging", "removed") as grave, suppress(FileNotFoundError):
            place.rename(grave / "removed")

    def sweep(self) -> list[str]:
        """Remove what dead processes left in `.staging`, `.work` and `.locks`; name it."""
        with self._faults():
            return [f"{area}/{n}" for area in (".staging", ".work", ".locks") for n in sweep_dead(self.root / area)]

    def _create_locked(self, written: Path, target: Path) -> bool:
        # No hard links on this file system: a lock among all creators does the same.
        with locked(self.root / ".locks" / "create.lock"):
            if target.exists():
                return False
            written.rename(target)
            return True

    def _file(self, manifest: Manifest, name: str) -> Path:
        return self._place(artifact_path(manifest.kind, manifest.key, name))

    def _place(self, path: str) -> Path:
        place = Path(os.path.normpath(self.root / path))
        if place != self.root and self.root not in place.parents:
            raise UnsafeError(f"path '{path}' leads out of store {self.url}.", "Use names inside the store.")
        return place

    @contextmanager
    def _written(self, target: Path, data: bytes | Path) -> Iterator[Path]:
        """Write data on the target's file system, to be linked or renamed there."""
        with self._faults(), private_folder(self.root / ".staging", "object") as folder:
            written = folder / "object"
            if isinstance(data, Path):
                shutil.copyfile(data, written)
            else:
                written.write_bytes(data)
            sync_file(written)
            make_folder(target.parent)
            yield written
            sync_folder(target.parent)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise explain_local(error, self.url) from error


def walk(folder: Path) -> Iterator[Path]:
    """Go through all files below a folder in order, a folder's names at a time."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from walk(Path(entry.path))
        else:
            yield Path(entry.path)


def make_folder(path: Path) -> None:
    """Make a folder and its parents, and wait until their names are on disk."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


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
