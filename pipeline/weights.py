"""A file of weights that somebody brings: where it may lie, and what it holds said in a checksum."""

import os
from functools import lru_cache
from pathlib import Path

from pipeline.datasets.faults import nearest
from pipeline.datasets.files import ROOTS_ENV, inside
from pipeline.errors import ConfigError, UnsafeError
from pipeline.keys import file_sha256


def find_weights(text: str, section: str = "represent") -> Path:
    """Place a file of weights; refuse what is no file, or lies outside the folders that may be read."""
    path, field = Path(text).expanduser().absolute(), f"{section}.weights.path"
    said = os.environ.get(ROOTS_ENV)
    roots = [os.path.realpath(Path(root).expanduser()) for root in (said or "").split(os.pathsep) if root]
    if roots and not inside(os.path.realpath(path), roots):
        raise UnsafeError(f"{field} {path} is outside the folders that may be read ({ROOTS_ENV}={said}).", "Move it.")
    if path.is_dir():
        raise ConfigError(f"{field} {path} is a folder.", "Name one file: .safetensors, .pth or .pt.")
    if not path.is_file():
        there = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []
        raise ConfigError(f"{field} {path} is not there.", nearest(path.name, there) if there else "Check the folder.")
    return path


def checked_weights(text: str, expected: str = "", section: str = "represent") -> tuple[Path, str]:
    """Place a file of weights and compute its sha256; refuse another file than the one that is meant."""
    path = find_weights(text, section)
    try:
        status = path.stat()
        found = checksum(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise ConfigError(
            f"{section}.weights.path {path} cannot be read: {error.strerror}.", "Mend its rights."
        ) from error
    if expected not in ("", found):
        raise ConfigError(
            f"{section}.weights.path {path} has the sha256 {found}, but {section}.weights.sha256 says {expected}.",
            "Bring that file back, or leave sha256 out.",
        )
    return path, found


@lru_cache(maxsize=64)
def checksum(path: Path, _size: int, _mtime: int) -> str:
    """Hash a file once in a process while size and time stay; a second for a gigabyte."""
    return file_sha256(path)
