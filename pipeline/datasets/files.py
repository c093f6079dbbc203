# ruff: noqa: PTH116, PTH118, PTH120
# A million Path objects would cost seconds.
"""The files of a dataset: listed, looked at by stat alone, never outside the folders that may be read."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.datasets.faults import naming
from pipeline.errors import DataError, UnsafeError

ROOTS_ENV = "PURIFLOW_DATA_ROOTS"
MISSING = -1


@dataclass
class Files:
    """Files by name relative to a root, with what stat says of them; size -1 where there is none."""

    root: str
    uri: list[str] = field(default_factory=list)
    size: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    mtime: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.uri)

    def path(self, row: int) -> str:
        """Place one file."""
        return os.path.join(self.root, self.uri[row])


def inside(path: str, roots: list[str]) -> bool:
    """Tell whether a real path lies in one of the real folders."""
    return any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots)


def stat_files(paths: list[Path]) -> Files:
    """Look at whole files by their full names."""
    stats = [p.stat() for p in paths]
    return Files(
        "/", [str(p).removeprefix("/") for p in paths],
        np.array([s.st_size for s in stats], np.int64), np.array([s.st_mtime_ns for s in stats], np.int64),
    )  # fmt: skip


def walk(folder: Path, base: str, roots: list[str]) -> Files:
    """List all files below a folder in name order, hidden ones aside; symbolic links may not lead out of the roots."""
    found: list[tuple[str, int, int]] = []
    outside: list[str] = []
    top = os.path.realpath(folder)
    pending: list[tuple[str, str, tuple[str, ...]]] = [
        (top, "" if top == base else os.path.relpath(top, base) + "/", (top,))
    ]
    while pending:
        place, prefix, ancestors = pending.pop()
        for entry in _scan(place):
            if entry.name.startswith("."):
                continue
            name, link = prefix + entry.name, entry.is_symlink()
            real = os.path.realpath(entry.path) if link else entry.path
            if link and not inside(real, roots):
                outside.append(name)
            elif entry.is_dir():
                if real not in ancestors:  # a link that leads back
                    pending.append((entry.path, name + "/", (*ancestors, real)))
            elif entry.is_file():
                status = entry.stat()
                found.append((name, status.st_size, status.st_mtime_ns))
    refuse(outside, f"symbolic links in {folder} lead")
    refuse_undecodable([f[0] for f in found])
    found.sort()
    numbers = np.array([f[1:] for f in found], np.int64).reshape(-1, 2)
    return Files(base, [f[0] for f in found], numbers[:, 0], numbers[:, 1])


def refuse_undecodable(names: list[str]) -> None:
    """Refuse file names that are no UTF-8: no table could hold them."""
    torn = [ascii(name) for name in names if not name.isascii() and name != name.encode(errors="replace").decode()]
    if torn:
        raise DataError(f"{len(torn)} file names are not UTF-8: {naming(torn)}.", "Rename the files.")


def _scan(place: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(place) as entries:
            yield from entries
    except OSError as error:
        raise DataError(f"folder {place} cannot be read: {error.strerror}.", "Mend its rights.") from error


def referenced(texts: pa.ChunkedArray, start: Path, base: str, roots: list[str]) -> Files:
    """Look at the files that a table's rows name, in row order; a path may not lead out of the roots."""
    top = os.path.realpath(start)
    uris: list[str] = []
    numbers = np.full((len(texts), 2), MISSING, np.int64)
    outside: list[str] = []
    folders: dict[str, bool] = {}
    for row, text in enumerate(t for chunk in texts.chunks for t in chunk.to_pylist()):
        if not text:
            uris.append("")
            continue
        path = os.path.normpath(os.path.join(top, text))
        uris.append(path[len(base) + 1 :] if path.startswith(base + "/") else os.path.relpath(path, base))
        folder = os.path.dirname(path)
        if folder not in folders:
            folders[folder] = "://" not in text and inside(os.path.realpath(folder), roots)
        status = look(path, roots) if folders[folder] else None
        if status is None:
            outside.append(f"row {row}: {'a URL' if '://' in text else text}")  # which may hold a password
        elif stat.S_ISREG(status.st_mode):
            numbers[row] = status.st_size, status.st_mtime_ns
    refuse(outside, "image paths lead")
    return Files(base, uris, numbers[:, 0], numbers[:, 1])


_GONE = os.stat_result((0,) * 10)


def look(path: str, roots: list[str]) -> os.stat_result | None:
    """Stat a file that may be absent; None where it is a link that leads out."""
    try:
        status = os.lstat(path)
        if not stat.S_ISLNK(status.st_mode):
            return status
        return os.stat(path) if inside(os.path.realpath(path), roots) else None
    except OSError:
        return _GONE


def refuse(outside: list[str], what: str) -> None:
    """Refuse paths that lead out of the folders that may be read."""
    if outside:
        raise UnsafeError(
            f"{len(outside)} {what} out of the folders that may be read: {naming(outside)}.",
            f"Move the files, name their folder as dataset.root, or allow it by {ROOTS_ENV}.",
        )
