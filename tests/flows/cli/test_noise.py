"""`puriflow noise`: exact shares, nothing else changed, the truth beside it."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.cli import main

ROWS = 200


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    names = np.array(["cat", "dog", "owl", "eel"])[np.arange(ROWS) % 4]
    table = pa.table(
        {
            "id": [f"r{i}" for i in range(ROWS)],
            "label": pa.array(names).dictionary_encode(),
            "split": ["test" if i % 5 == 4 else "train" for i in range(ROWS)],
            "price": np.arange(ROWS) / 7,
        }
    )
    pq.write_table(table, tmp_path / "clean.parquet")
    return tmp_path / "clean.parquet"


def test_an_exact_share_of_the_train_labels_is_wrong_and_the_rest_is_untouched(clean: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["noise", str(clean), "--rate", "0.3", "--id", "id", "--split", "split", "--out", str(out)]) == 0
    before, after, truth = (pq.read_table(p) for p in (clean, out / "clean.parquet", out / "truth.parquet"))
    changed = np.array(before["label"].to_pylist()) != np.array(after["label"].to_pylist())
    train = np.array(before["split"].to_pylist()) == "train"
    assert changed[train].sum() == round(0.3 * train.sum())
    assert changed[~train].sum() == 0
    assert after.drop_columns(["label"]).equals(before.drop_columns(["label"]))
    assert truth["sample_id"].to_pylist() == before["id"].to_pylist()
    assert truth["true_label"].to_pylist() == before["label"].to_pylist()


def test_the_same_seed_gives_the_same_noise(clean: Path, tmp_path: Path) -> None:
    def noisy(name: str, seed: str) -> list[str]:
        assert main(["noise", str(clean), "--seed", seed, "--out", str(tmp_path / name)]) == 0
        return list(pq.read_table(tmp_path / name / "clean.parquet")["label"].to_pylist())

    assert noisy("a", "1") == noisy("b", "1") != noisy("c", "2")


def test_json_says_how_many_labels_are_wrong(clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["noise", str(clean), "--out", str(tmp_path / "out"), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["rows"], made["wrong"]) == (ROWS, round(0.4 * ROWS))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--kind", "funny"], "there is no noise 'funny'"),
        (["--label", "class"], "has no column 'class'; it has: id, label, split, price"),
        (["--rate", "1.5"], "Invalid value for '--rate'"),
    ],
)
def test_mistakes_are_named(
    options: list[str], message: str, clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["noise", str(clean), *options, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(clean: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = clean.read_bytes()
    assert main(["noise", str(clean), "--out", str(clean.parent)]) == 2
    assert clean.read_bytes() == content
    assert "is there already" in capsys.readouterr().err
