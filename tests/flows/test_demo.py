"""The demo's data: exactly what the demo says it is, and no truth where a stage could find it."""

import io
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from PIL import Image

from flows.demo import CHECKED, DATA, TRUTH, demo_tables, write_demo
from flows.document import load_document
from pipeline.errors import ConfigError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demo(tmp_path_factory.mktemp("demo")).parent


def test_exactly_forty_per_cent_of_the_training_labels_are_wrong_and_no_test_label_is(folder: Path) -> None:
    rows, truth = pq.read_table(folder / DATA), pq.read_table(folder / TRUTH)
    assert rows["id"].to_pylist() == truth["sample_id"].to_pylist()
    wrong = rows["label"].to_numpy() != truth["true_label"].to_numpy()
    train = np.array(rows["split"].to_pylist()) == "train"
    assert wrong[train].sum() == round(0.4 * train.sum())
    assert wrong[~train].sum() == 0
    assert abs((~train).mean() - 0.2) < 0.005


def test_ten_training_rows_of_each_class_are_trusted_and_right(folder: Path) -> None:
    checked = pyarrow.csv.read_csv(folder / CHECKED).to_pydict()
    truth = dict(zip(*pq.read_table(folder / TRUTH).to_pydict().values(), strict=True))
    split = dict(zip(*pq.read_table(folder / DATA).select(["id", "split"]).to_pydict().values(), strict=True))
    assert np.bincount(checked["label"]).tolist() == [10] * 10
    assert all(truth[i] == label for i, label in zip(checked["id"], checked["label"], strict=True))
    assert {split[i] for i in checked["id"]} == {"train"}


def test_trusted_rows_are_drawn_blindly_so_that_some_had_wrong_labels(folder: Path) -> None:
    given = dict(zip(*pq.read_table(folder / DATA).select(["id", "label"]).to_pydict().values(), strict=True))
    checked = pyarrow.csv.read_csv(folder / CHECKED).to_pydict()
    wrong = sum(given[i] != label for i, label in zip(checked["id"], checked["label"], strict=True))
    assert 25 <= wrong <= 55


def test_no_stage_is_told_of_the_truth(folder: Path) -> None:
    request = load_document(folder / "clean.yaml")
    assert "truth" not in request.model_dump_json()
    assert "true_label" not in pq.read_schema(folder / DATA).names


def test_the_pictures_are_the_digits(folder: Path) -> None:
    picture = Image.open(io.BytesIO(pq.read_table(folder / DATA)["image"][0].as_py()))
    assert (picture.size, picture.mode) == ((32, 32), "L")
    assert np.asarray(picture).std() > 20


def test_a_second_call_touches_no_file(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    write_demo(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert demo_tables()[0].equals(pq.read_table(folder / DATA))


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty and holds no demo"):
        write_demo(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
