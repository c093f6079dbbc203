"""The Python of docs/label-table.md runs as it stands, on a small published table."""

import re
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts import Manifest, list_files
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


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Publish a small table of the dataset that the page speaks of."""
    store = FileStore(tmp_path / "puriflow-store")
    names = ["shirt", "coat"]
    metadata = {"classes": names, "keys": {}, "config": {}, "noise": {}, "audit": {}, "gate": {"verdict": "proven"}}
    with store.staging("labels", "abc") as folder:
        write_labels(folder / "labels.parquet", label_table(columns(6), names), metadata)
        made = Manifest(kind="labels", key="abc", files=list_files(folder), metrics={"gate": {"verdict": "proven"}})
        artifact = store.publish(folder, made)
    publish_labels(store, "shop-photos", artifact.ref)
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


def test_the_label_page_names_every_column() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in SCHEMA.names if f"`{name}`" not in page] == []
