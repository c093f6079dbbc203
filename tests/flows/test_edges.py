"""Whole runs at the edges of what a dataset can be, by the command line as a user gives it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.slow
PURIFLOW = Path(sys.executable).with_name("puriflow")


def clean(folder: Path, classes: int, trusted: int, rows: int = 48) -> tuple[int, dict[str, Any]]:
    """Clean features of some classes, a seventh of the labels wrong, the first rows trusted."""
    noise = np.random.default_rng(0)
    true = np.arange(rows) % classes
    given = np.where(np.arange(rows) % 7 == 6, (true + 1) % classes, true)
    spread = np.eye(max(classes, 4), dtype=np.float32)[true] * 4
    np.save(folder / "features.npy", spread + noise.normal(size=spread.shape).astype(np.float32))
    checked = [f"c{t}" if i < trusted else None for i, t in enumerate(true)]
    ids = [f"row {i}" for i in range(rows)]
    table = {"sample_id": ids, "given_label": [f"c{g}" for g in given], "trusted_label": checked}
    pd.DataFrame(table).to_csv(folder / "rows.csv", index=False)
    (folder / "clean.yaml").write_text(
        "dataset: {name: edge, kind: features, table: rows.csv, features: features.npy}\nretrain: {enabled: false}\n"
    )
    done = subprocess.run([PURIFLOW, "clean", folder / "clean.yaml", "--json"], capture_output=True, check=False)
    return done.returncode, json.loads(done.stdout)


def test_without_trusted_rows_the_labels_stay_and_the_run_says_why(tmp_path: Path) -> None:
    code, answer = clean(tmp_path, classes=3, trusted=0)
    assert code == 0
    assert (answer["gate"]["open"], answer["counts"]["relabel"]) == (False, 0)
    assert any("No trusted row can judge" in warning for warning in answer["warnings"])
    assert "No gain is proven: the given labels are kept" in Path(answer["report"]).read_text(encoding="utf-8")


def test_with_all_rows_trusted_every_row_keeps_its_trusted_label(tmp_path: Path) -> None:
    code, answer = clean(tmp_path, classes=3, trusted=48)
    assert code == 0
    assert answer["counts"]["trusted"] == 48


def test_thousands_of_classes_get_a_table_and_a_page(tmp_path: Path) -> None:
    code, answer = clean(tmp_path, classes=1500, trusted=30, rows=3000)
    assert code == 0
    assert sum(answer["counts"].values()) == 3000


def test_one_class_is_the_users_mistake(tmp_path: Path) -> None:
    code, answer = clean(tmp_path, classes=1, trusted=5)
    assert code == 2
    assert "at least 2" in answer["error"]["message"]


def test_no_rows_are_the_users_mistake(tmp_path: Path) -> None:
    code, answer = clean(tmp_path, classes=3, trusted=0, rows=0)
    assert code == 2
    assert "0 rows" in answer["error"]["message"]
