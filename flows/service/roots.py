"""What a form may name: files below the worker's data roots, after every link is followed, and nothing else."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import ConfigError, UnsafeError
from stages.ingest.config import DatasetConfig

if TYPE_CHECKING:
    from flows.document import CleanRequest

GLOB = re.compile(r"[*?\[]")


def check_paths(request: "CleanRequest", roots: Sequence[Path]) -> None:
    """Refuse a request that names a file outside the roots, or one that is not there."""
    for field, path in named_paths(request):
        fixed = fixed_part(path)
        below = fixed.resolve()
        if not any(below.is_relative_to(root.resolve()) for root in roots):
            allowed = ", ".join(str(root) for root in roots)
            raise UnsafeError(
                f"{field} = '{path}' is outside the folders that this service may read ({allowed}).",
                "Name a file below them, or ask the operator to add a folder to PURIFLOW_DATA_ROOTS.",
            )
        if not fixed.exists():
            raise ConfigError(f"{field} = '{path}' is not there.", "Relative paths start from PURIFLOW_DATA_ROOT.")


def named_paths(request: "CleanRequest") -> Iterator[tuple[str, str]]:
    """Go through all paths of a request, each with the field that names it."""
    dataset = request.dataset
    for name in ("path", "validation_path", "test_path", "table", "features"):
        yield from ((f"dataset.{name}", path) for path in getattr(dataset, name))
    if dataset.root is not None:
        yield "dataset.root", dataset.root
    for name in ("labels", "trusted", "splits"):
        yield from ((f"dataset.{name}.path", path) for path in side_paths(dataset, name))
    if request.represent.method == "weights":
        yield "represent.weights.path", str(request.represent.weights.path)
    if request.retrain.start_from == "weights":
        yield "retrain.weights.path", str(request.retrain.weights.path)


def side_paths(dataset: DatasetConfig, name: str) -> tuple[str, ...]:
    """List the files of a side table."""
    table = getattr(dataset, name)
    return table.path if table is not None else ()


def fixed_part(path: str) -> Path:
    """Return a pattern's part before the first wildcard; a file that really has such letters stands for itself."""
    whole = Path(path)
    if whole.exists() or not GLOB.search(path):
        return whole
    parts = []
    for part in whole.parts:
        if GLOB.search(part):
            break
        parts.append(part)
    return Path(*parts)
