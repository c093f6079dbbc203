"""A place to ingest small datasets in: files go below `data`, artifacts into a store beside it."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.artifacts import Artifact
from pipeline.datasets.annotations import Annotations, open_annotations
from pipeline.datasets.config import DatasetConfig
from pipeline.datasets.images import ImageRows, open_images
from pipeline.features import Features, open_features
from pipeline.requests import Resources, StageRequest
from pipeline.store.local import FileStore
from stages.ingest.produce import produce
from stages.shell.run import attempt
from stages.shell.stop import StopFlag


@dataclass(frozen=True)
class Ingested:
    """What one ingest published."""

    artifact: Artifact

    @property
    def metrics(self) -> dict[str, Any]:
        return dict(self.artifact.metrics)

    def part(self, name: str) -> Artifact:
        return self.artifact.store.get(self.artifact.manifest.inputs[name])

    @property
    def images(self) -> ImageRows:
        return open_images(self.part("images"))

    @property
    def annotations(self) -> Annotations:
        return open_annotations(self.part("annotations"))

    @property
    def features(self) -> Features:
        return open_features(self.part("features"))

    def given(self) -> dict[str, str | None]:
        found = self.annotations
        names = [*found.class_names, None]
        return dict(zip(found.sample_ids, (names[i] for i in found.given), strict=True))

    def trusted(self) -> dict[str, str]:
        found = self.annotations
        pairs = zip(found.sample_ids, found.trusted, strict=True)
        return {sample: found.class_names[label] for sample, label in pairs if label >= 0}

    def reasons(self) -> dict[str, str]:
        rows = self.images.rows.to_pylist()
        return {r["sample_id"]: r["reason"] for r in rows if r["status"] == "broken"}


class Desk:
    """Write small files, ingest them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "data"
        self.folder.mkdir()
        self.store = FileStore(folder / "store")
        self.runs = 0

    def picture(self, seed: int = 0, size: tuple[int, int] = (7, 5), kind: str = "PNG") -> bytes:
        pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, kind)
        return buffer.getvalue()

    def write(self, name: str, data: bytes | str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    def pictures(self, names: Iterable[str], first: int = 0) -> list[Path]:
        return [self.write(name, self.picture(first + i)) for i, name in enumerate(names)]

    def csv(self, name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
        text = io.StringIO()
        csv.writer(text).writerows([header, *rows])
        return self.write(name, text.getvalue())

    def parquet(self, name: str, columns: dict[str, Any]) -> Path:
        path = self.folder / name
        pq.write_table(pa.table(columns), path)
        return path

    def config(self, kind: str, **fields: Any) -> DatasetConfig:
        return DatasetConfig.model_validate({"name": "toys", "kind": kind} | fields).resolved(self.folder)

    def run(self, kind: str, previous: Ingested | None = None, **fields: Any) -> Ingested:
        self.runs += 1
        key = f"run{self.runs}"
        request = StageRequest(
            stage="ingest", kind="datasets", key=key, store=self.store.url, work=str(self.folder.parent / "work" / key),
            config=self.config(kind, **fields).model_dump(mode="json"), resources=Resources(workers=1),
            hints={"previous": previous.artifact.ref} if previous else {},
        )  # fmt: skip
        return Ingested(attempt(request, DatasetConfig, produce, StopFlag()))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)
