"""Where files of remote artifacts lie on this machine: named by content, downloaded once, checked when they come."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePosixPath

from pipeline.artifacts import FileEntry
from pipeline.errors import StoreError
from pipeline.keys import file_sha256
from pipeline.store.faults import explain_local
from pipeline.store.private import locked, private_folder, sweep_dead
from pipeline.store.store import DISCARD

CACHE_ENV = "PURIFLOW_CACHE"
UNUSED_DAYS = 30


def cache_folder() -> Path:
    """Return the folder that only this user may enter (`PURIFLOW_CACHE`, else one below the system's temp folder)."""
    chosen = os.environ.get(CACHE_ENV)
    folder = Path(chosen).expanduser() if chosen else Path(tempfile.gettempdir()) / f"puriflow-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = folder.stat().st_uid
    except OSError as error:
        raise explain_cache(error, folder) from error
    if owner != os.getuid() and not chosen:
        raise StoreError(f"cache folder {folder} belongs to another user.", f"Set {CACHE_ENV} to a folder of your own.")
    return folder.absolute()


def cached(entry: FileEntry, download: Callable[[Path], None]) -> Path:
    """Return the file with this content, downloading it first where it is not here yet."""
    home = cache_folder()
    target = home / "objects" / entry.sha256[:2] / entry.sha256 / PurePosixPath(entry.path).name
    try:
        if _is_whole(target, entry):
            os.utime(target)  # it is still of use
            return target
        with locked(home / "locks" / f"{entry.sha256}.lock"):  # one download is enough for all ranks of a machine
            if not _is_whole(target, entry):
                _bring(entry, download, target)
    except OSError as error:
        raise explain_cache(error, home) from error
    return target


@contextmanager
def private_cache(area: str, label: str) -> Iterator[Path]:
    """Own a folder of the cache for as long as this process lives; sweep those of the dead."""
    home = cache_folder() / area
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(private_folder(home, label))
        except OSError as error:
            raise explain_cache(error, home) from error
        yield folder


def sweep_cache() -> list[str]:
    """Remove what dead processes left in the cache, and files that nobody asked for in a long time; name it."""
    home = cache_folder()
    swept = [f"{area}/{name}" for area in ("staging", "work", "locks") for name in sweep_dead(home / area)]
    for path in (home / "objects").glob("*/*/*"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - UNUSED_DAYS * 86400:
                path.unlink()
                swept.append(path.relative_to(home).as_posix())
    return swept


def explain_cache(error: OSError, home: Path) -> StoreError:
    """Explain a fault of the cache folder, which can be put elsewhere."""
    remedy = f"Free space or mend its rights, or set {CACHE_ENV} to another folder."
    return type(explain_local(error, ""))(f"cache folder {home} failed ({error.strerror or error}).", remedy)


def _is_whole(path: Path, entry: FileEntry) -> bool:
    return path.is_file() and path.stat().st_size == entry.bytes


def _bring(entry: FileEntry, download: Callable[[Path], None], target: Path) -> None:
    with private_folder(cache_folder() / "staging", "fetch") as folder:
        written = folder / "file"
        download(written)
        found = file_sha256(written)
        if found != entry.sha256:
            raise StoreError(
                f"'{entry.path}' came with checksum {found[:12]}, its manifest says {entry.sha256[:12]}.",
                DISCARD,
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        written.chmod(0o444)
        written.replace(target)
