"""Whole runs at the edges of what a dataset can be, by the command line as a user gives it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows.cli import main

pytestmark = pytest.mark.slow
Clean = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def clean(inside: None, capsys: pytest.CaptureFixture[str]) -> Clean:
    def command(
        folder: Path, classes: int, trusted: int, rows: int = 48, method: str = "fusion"
    ) -> tuple[int, dict[str, Any]]:
        write_features(folder, classes, trusted, rows)
        asked = ["--set", f"purify.method={method}", "--json", "--workers", "1"]
        code = main(["clean", str(folder / "clean.yaml"), *asked])
        return code, json.loads(capsys.readouterr().out)

    return command


def write_features(folder: Path, classes: int, trusted: int, rows: int) -> None:
    """Write features of some classes, a seventh of the labels wrong, the first rows trusted."""
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


def test_without_trusted_rows_the_labels_stay_and_the_run_says_why(tmp_path: Path, clean: Clean) -> None:
    code, answer = clean(tmp_path, classes=3, trusted=0)
    assert code == 2
    assert "confident_learning" in answer["error"]["remedy"]
    code, answer = clean(tmp_path, classes=3, trusted=0, method="confident_learning")
    assert code == 0
    assert (answer["gate"]["open"], answer["counts"]["relabel"]) == (False, 0)
    assert any("No trusted row can judge" in warning for warning in answer["warnings"])
    assert "No gain is proven: the given labels are kept" in Path(answer["report"]).read_text(encoding="utf-8")


def test_with_all_rows_trusted_every_row_keeps_its_trusted_label(tmp_path: Path, clean: Clean) -> None:
    code, answer = clean(tmp_path, classes=3, trusted=48)
    assert code == 0
    assert answer["counts"]["trusted"] == 48


def test_hundreds_of_classes_get_a_table_and_a_page(tmp_path: Path, clean: Clean) -> None:
    code, answer = clean(tmp_path, classes=300, trusted=30, rows=600)
    assert code == 0
    assert sum(answer["counts"].values()) == 600


def test_one_class_is_the_users_mistake(tmp_path: Path, clean: Clean) -> None:
    code, answer = clean(tmp_path, classes=1, trusted=5)
    assert code == 2
    assert "at least 2" in answer["error"]["message"]


def test_no_rows_are_the_users_mistake(tmp_path: Path, clean: Clean) -> None:
    code, answer = clean(tmp_path, classes=3, trusted=0, rows=0)
    assert code == 2
    assert "0 rows" in answer["error"]["message"]
