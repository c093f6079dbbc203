"""What the tests of whole runs share: a small real data set and the file tree of a store."""

import hashlib
import importlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from flows.catalogue import STAGES
from flows.child import Children, OnProgress
from pipeline.progress import read_progress
from pipeline.requests import StageRequest
from stages.shell.run import attempt
from stages.shell.stop import StopFlag
from stages.shell.translate import translate

QUICK = """
dataset:
  name: tiny
  kind: parquet
  path: tiny.parquet
  columns: {sample_id: id, image: image, given_label: label, trusted_label: checked, split: split}
represent: {epochs: 3, batch_size: 32, image_size: 16, width: 8}
embed: {k: 8}
retrain: {epochs: 3, batch_size: 32}
report: {times: false}
"""


def picture(kind: int, seed: int) -> bytes:
    """Draw a noisy picture of one of two kinds."""
    noise = np.random.default_rng(seed)
    pixels = noise.integers(0, 90, (16, 16, 3), dtype=np.uint8)
    if kind:
        pixels[:, 4:10] += 150
    else:
        pixels[4:10, :] += 150
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_tiny_dataset(folder: Path, rows: int = 120, trusted: int = 24, relabel: int = -1) -> Path:
    """Write a data set of two kinds of pictures, a fifth of its labels wrong, and the YAML that cleans it."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = [i % 2 for i in range(rows)]
    given = [1 - k if i % 5 == 2 or i == relabel else k for i, k in enumerate(kinds)]
    names = ["across", "down"]
    table = {
        "id": [f"img {i:03d}" for i in range(rows)],
        "image": [{"bytes": picture(k, i), "path": None} for i, k in enumerate(kinds)],
        "label": [names[g] for g in given],
        "checked": [names[k] if i < trusted else None for i, k in enumerate(kinds)],
        "split": ["test" if i % 6 == 5 else "train" for i in range(rows)],
    }
    pq.write_table(pa.table(table), folder / "tiny.parquet")
    path = folder / "clean.yaml"
    path.write_text(QUICK, encoding="utf-8")
    return path


def files_of(store: Path) -> dict[str, str]:
    """Hash every file of a store's artifacts; manifests (times) and the listing (the source's times) aside."""
    kinds = [p for p in sorted(store.iterdir()) if not p.name.startswith(".") and p.name not in ("runs", "trash")]
    files = [f for kind in kinds for f in sorted(kind.rglob("*")) if f.is_file()]
    return {
        str(f.relative_to(store)): hashlib.sha256(f.read_bytes()).hexdigest()
        for f in files
        if f.name not in ("manifest.json", "listing.parquet")
    }


class Inside(Children):
    """Stages in this process: where no process is what is tested, none has to load torch first."""

    def run(self, request: StageRequest, on_progress: OnProgress) -> None:
        produce = importlib.import_module(f"stages.{request.stage}.produce").produce
        try:
            attempt(request, STAGES[request.stage].config_type, produce, StopFlag())
        except Exception as error:
            raise translate(error) from error
        for line in read_progress(request.work_folder, 0)[0]:
            on_progress(line)


@pytest.fixture(scope="module")
def inside() -> Iterator[None]:
    """Run stages in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flows.inline.Children", Inside)
        yield


WriteTiny = Callable[..., Path]
Tree = Callable[[Path], dict[str, str]]


@pytest.fixture(scope="session")
def write_tiny() -> WriteTiny:
    """Give the function that writes the small data set."""
    return write_tiny_dataset


@pytest.fixture(scope="session")
def tree() -> Tree:
    """Give the function that hashes a store."""
    return files_of


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the YAML of the small data set, in a folder with spaces and other letters."""
    return write_tiny_dataset(tmp_path_factory.mktemp("tiny") / "Bilder für alle")
