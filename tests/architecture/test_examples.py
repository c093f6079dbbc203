"""The Python of docs/label-table.md runs as it stands, on a small published table."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.artifacts import Artifact, Manifest, Ref, list_files
from pipeline.datasets.images import ROWS_SCHEMA
from pipeline.labels import SCHEMA, label_table, write_labels
from pipeline.store import FileStore
from pipeline.store.published import publish_labels

PAGE = Path(__file__).parents[2] / "docs" / "label-table.md"


def columns(rows: int) -> dict[str, object]:
    """Make plain columns of a table whose first row was relabelled."""
    ones = np.ones(rows, np.float32)
    return {
        "sample_id": [f"photo {i}" for i in range(rows)], "given_label": np.arange(rows) % 2,
        "suggested_label": np.zeros(rows, int), "purified_label": np.zeros(rows, int),
        "action": ["relabel" if i % 2 else "keep" for i in range(rows)], "confidence": ones, "given_confidence": ones,
        "top_labels": [[0, 1]] * rows, "top_probs": [[0.9, 0.1]] * rows, "neighbour_agreement": ones,
        "outlier_score": ones, "duplicate_of": [None] * rows, "split": ["train"] * rows, "trusted": [False] * rows,
        "trusted_origin": [None] * rows, "audit": [False] * rows,
    }  # fmt: skip


def publish(store: FileStore, ref: Ref, write: Callable[[Path], object], inputs: dict[str, Ref]) -> Artifact:
    with store.staging(ref.kind, ref.key) as folder:
        write(folder)
        metrics = {"gate": {"verdict": "proven"}}
        made = Manifest(kind=ref.kind, key=ref.key, inputs=inputs, files=list_files(folder), metrics=metrics)
        return store.publish(folder, made)


def write_images(folder: Path) -> None:
    """Write six times the same small picture."""
    file = io.BytesIO()
    Image.new("RGB", (4, 3)).save(file, "PNG")
    (folder / "data.bin").write_bytes(file.getvalue())
    row = {"sha256": "0", "source": "", "width": 4, "height": 3, "status": "ok", "reason": "", "shard": "s",
           "offset": 0, "length": len(file.getvalue())}  # fmt: skip
    rows = [{"sample_id": f"photo {i}", **row} for i in range(6)]
    pq.write_table(pa.Table.from_pylist(rows, schema=ROWS_SCHEMA), folder / "rows.parquet")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Publish a small table of the dataset that the page speaks of, with its images."""
    store = FileStore(tmp_path / "puriflow-store")
    names = ["shirt", "coat"]
    metadata = {"classes": names, "keys": {"labels": "abc"}, "config": {}, "noise": {}, "audit": {}}
    metadata["gate"] = {"verdict": "proven"}
    publish(store, Ref(kind="shards", key="s"), write_images, {})
    images = publish(store, Ref(kind="images", key="i"), write_images, {}).ref
    features = publish(store, Ref(kind="features", key="f"), lambda f: (f / "x").write_text(""), {"images": images})
    labels = publish(
        store, Ref(kind="labels", key="abc"),
        lambda folder: write_labels(folder / "labels.parquet", label_table(columns(6), names), metadata),
        {"features": features.ref},
    )  # fmt: skip
    publish_labels(store, "shop-photos", labels.ref)
    return tmp_path


def test_the_python_of_the_label_page_runs(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop)
    monkeypatch.setenv("HF_HOME", str(shop / "hf"))
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec("\n".join(blocks), {})
    said = capsys.readouterr().out
    assert "version 1, gate proven: {'keep': 3, 'relabel': 3}" in said
    assert "coat" in said
    assert "6 images of ['shirt', 'coat'], the first (4, 3): shirt" in said


def test_the_label_page_names_every_column() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in SCHEMA.names if f"`{name}`" not in page] == []
