"""Where a dataset's rows come from: folders and files, safely resolved, and a fingerprint of them by stat alone."""

import glob
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pipeline.datasets.config import DatasetConfig
from pipeline.datasets.faults import missing_column, nearest
from pipeline.datasets.files import ROOTS_ENV, Files, inside, referenced, stat_files, walk
from pipeline.datasets.tables import read_table, table_schema
from pipeline.errors import DataError, UnsafeError
from pipeline.store import Store


@dataclass(frozen=True)
class Group:
    """Some of a dataset's folders or files, and the split that all their rows belong to ('' = not said)."""

    paths: list[Path]
    split: str


def fingerprint(config: DatasetConfig, store: Store | None = None) -> str:
    """Hash name, size and time of every file the dataset is read from, and the names of its decisions in the store."""
    roots, digest = allowed_roots(config), hashlib.sha256()
    for files in source_files(config, roots):
        for uri, size, mtime in zip(files.uri, files.size.tolist(), files.mtime.tolist(), strict=True):
            digest.update(f"{uri}\0{size}\0{mtime}\n".encode(errors="surrogateescape"))
    decisions = store.children(f"decisions/{config.name}") if store else []
    digest.update("\0".join(decisions).encode())
    if config.rehash:
        digest.update(os.urandom(16))  # a wish to read everything again is never cached
    return digest.hexdigest()


def source_files(config: DatasetConfig, roots: list[str]) -> Iterator[Files]:
    """List all files that a dataset is read from: samples first, then tables."""
    base = base_folder(config)
    for group in groups(config):
        for path in group.paths:
            if path.is_dir():
                yield walk(path, base, roots)
                continue
            yield stat_files([path])
            if config.kind in ("table", "parquet") and (column := path_column(path, config)):
                yield referenced(read_table(path, [column])[column], image_root(path, config), base, roots)
    for what, paths in named_paths(config).items():
        if what == "features" or what.endswith(".path"):
            yield stat_files(expand(paths, f"dataset.{what}"))


def base_folder(config: DatasetConfig) -> str:
    """Name the folder that `source` in the images artifact starts from: what all samples' folders share."""
    if config.root:
        return os.path.realpath(Path(config.root).expanduser())
    paths = [path for group in groups(config) for path in group.paths]
    return os.path.commonpath([os.path.realpath(p if p.is_dir() else p.parent) for p in paths])


def groups(config: DatasetConfig) -> list[Group]:
    """Resolve the paths of a dataset's samples, one group for each split that a path says."""
    if config.kind == "features":
        return [Group(expand(config.table, "dataset.table"), "")]
    named = (("path", "", config.path), ("validation_path", "validation", config.validation_path),
             ("test_path", "test", config.test_path))  # fmt: skip
    return [Group(expand(paths, f"dataset.{name}"), split) for name, split, paths in named if paths]


def expand(paths: tuple[str, ...], what: str) -> list[Path]:
    """Resolve globs, and make sure that every path is there."""
    found: list[Path] = []
    for text in paths:
        path = Path(text).expanduser().absolute()
        matches = [path] if path.exists() else [Path(p) for p in sorted(glob.glob(str(path)))]  # noqa: PTH207 (absolute patterns)
        if not matches:
            near = (
                nearest(path.name, sorted(p.name for p in path.parent.iterdir()))
                if path.parent.is_dir()
                else "Check the folder."
            )
            raise DataError(f"{what} '{text}' is not there.", near)
        found.extend(matches)
    return found


def named_paths(config: DatasetConfig) -> dict[str, tuple[str, ...]]:
    """Collect every path that a dataset names, by field."""
    fields = ("path", "validation_path", "test_path", "table", "features")
    sides = {"labels": config.labels, "trusted": config.trusted, "splits": config.splits}
    said = {name: side.path for name, side in sides.items() if side is not None}
    return {name: getattr(config, name) for name in fields} | {f"{name}.path": paths for name, paths in said.items()}


def allowed_roots(config: DatasetConfig) -> list[str]:
    """Name the folders that data may be read from: PURIFLOW_DATA_ROOTS, or else the folders that the paths name."""
    named = [path for what, paths in named_paths(config).items() for path in expand(paths, f"dataset.{what}")]
    folders = [Path(config.root).expanduser()] if config.root else []
    folders += [p if p.is_dir() else p.parent for p in named]
    said = os.environ.get(ROOTS_ENV)
    if not said:
        return sorted({os.path.realpath(f) for f in folders})
    roots = sorted({os.path.realpath(Path(r).expanduser()) for r in said.split(os.pathsep) if r})
    for path in (*named, *folders):
        if not inside(os.path.realpath(path), roots):
            raise UnsafeError(f"path {path} is outside the folders that may be read ({ROOTS_ENV}={said}).", "Move it.")
    return roots


def path_column(path: Path, config: DatasetConfig) -> str | None:
    """Name the column of image paths of a table; None where its images are embedded."""
    schema = table_schema(path)
    name = config.columns.image or "image"
    if name not in schema.names:
        raise missing_column(name, schema.names, f"table {path}", "dataset.columns.image")
    kind = schema.field(name).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return name if pa.types.is_string(kind) or pa.types.is_large_string(kind) else None


def image_root(table: Path, config: DatasetConfig) -> Path:
    """Name the folder that the image paths of a table start from."""
    return Path(config.root).expanduser().absolute() if config.root else table.parent
