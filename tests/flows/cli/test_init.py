"""`puriflow init`: what it makes of a folder is what the folder holds."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from PIL import Image

from flows.cli import main
from flows.document import CleanRequest, load_document


def picture(path: Path, side: int = 20) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side)).save(path)
    return path


def started(folder: Path, out: Path) -> CleanRequest:
    assert main(["init", str(folder), "--out", str(out)]) == 0
    return load_document(out)


def test_class_folders_become_an_image_folder(tmp_path: Path) -> None:
    for name in ("Äpfel & Birnen", "nuts"):
        picture(tmp_path / "My Photos!" / name / "1.png", side=50)
    request = started(tmp_path / "My Photos!", tmp_path / "clean.yaml")
    assert request.dataset.kind == "image_folder"
    assert request.dataset.name == "my-photos"
    assert request.dataset.path == (str(tmp_path / "My Photos!"),)
    assert request.represent.image_size == 64


def test_folders_of_splits_are_told_from_classes(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        picture(tmp_path / "data" / split / "cat" / "1.jpg")
    dataset = started(tmp_path / "data", tmp_path / "clean.yaml").dataset
    assert [Path(p).name for p in (*dataset.path, *dataset.validation_path, *dataset.test_path)] == [
        "train", "val", "test",
    ]  # fmt: skip


def test_the_store_never_lands_among_the_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture(tmp_path / "cat" / "1.png")
    assert main(["init", str(tmp_path), "--out", str(tmp_path / "clean.yaml")]) == 2
    assert "from the folder above" in capsys.readouterr().err
    assert not (tmp_path / "clean.yaml").exists()


def test_embedded_images_trusted_rows_and_splits_are_found(tmp_path: Path) -> None:
    data = picture(tmp_path / "x.png").read_bytes()
    rows = {"ID": ["a", "b"], "image": [{"bytes": data, "path": "a"}] * 2, "Label": [0, 1], "split": ["train", "test"]}
    for name in ("train-00000.parquet", "train-00001.parquet", "test-00000.parquet"):
        pq.write_table(pa.table(rows), tmp_path / name)
    pyarrow.csv.write_csv(pa.table({"id": ["a"], "label": [1]}), tmp_path / "checked.csv")
    pq.write_table(pa.table({"sample_id": ["a"], "true_label": [1]}), tmp_path / "truth.parquet")
    dataset = started(tmp_path, tmp_path / "clean.yaml").dataset
    assert dataset.kind == "parquet"
    assert [Path(p).name for p in dataset.path] == ["train-00000.parquet", "train-00001.parquet"]
    assert [Path(p).name for p in dataset.test_path] == ["test-00000.parquet"]
    assert (dataset.columns.sample_id, dataset.columns.image) == ("ID", "image")
    assert (dataset.columns.given_label, dataset.columns.split) == (("Label",), "split")
    assert dataset.trusted is not None
    assert dataset.trusted.columns.trusted_label == "label"


def test_a_table_of_paths_and_several_annotators_are_found(tmp_path: Path) -> None:
    picture(tmp_path / "pics" / "1.png")
    rows = {"file": ["pics/1.png", "pics/2.png"], "label_1": ["a", "b"], "label_2": ["a", "a"]}
    pyarrow.csv.write_csv(pa.table(rows), tmp_path / "rows.csv")
    dataset = started(tmp_path, tmp_path / "clean.yaml").dataset
    assert dataset.kind == "table"
    assert dataset.columns.image == "file"
    assert dataset.columns.given_label == ("label_1", "label_2")


def test_an_array_and_a_table_become_features(tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", np.zeros((2, 3), np.float32))
    pq.write_table(pa.table({"id": ["a", "b"], "label": ["x", "y"]}), tmp_path / "rows.parquet")
    dataset = started(tmp_path, tmp_path / "clean.yaml").dataset
    assert dataset.kind == "features"
    assert Path(dataset.features[0]).name == "vectors.npy"
    assert Path(dataset.table[0]).name == "rows.parquet"


def test_a_column_that_cannot_be_guessed_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "vectors.npy", np.zeros((2, 3), np.float32))
    pq.write_table(pa.table({"id": ["a", "b"], "mood": ["x", "y"]}), tmp_path / "rows.parquet")
    assert main(["init", str(tmp_path), "--out", str(tmp_path / "clean.yaml"), "--json"]) == 0
    note = json.loads(capsys.readouterr().out)["notes"][0]
    assert note == "no column looks like labels; set columns.given_label to one of: id, mood."
    assert note in (tmp_path / "clean.yaml").read_text()


def test_class_folders_beside_a_table_of_trusted_rows_are_found(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        picture(tmp_path / "photos" / name / "1.png")
    pyarrow.csv.write_csv(pa.table({"sample_id": ["cat/1.png"], "trusted_label": ["dog"]}), tmp_path / "checked.csv")
    for kind in ("runs", "datasets", "reports"):  # a store of earlier runs
        picture(tmp_path / "puriflow-store" / kind / "k" / "1.png")
    dataset = started(tmp_path, tmp_path / "clean.yaml").dataset
    assert dataset.path == (str(tmp_path / "photos"),)
    assert dataset.trusted is not None


def test_a_side_table_that_is_not_understood_and_labels_without_names_are_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(pa.table({"id": ["a", "b"], "label": [0, 1]}), tmp_path / "rows.parquet")
    np.save(tmp_path / "features.npy", np.eye(2, dtype=np.float32))
    pyarrow.csv.write_csv(pa.table({"id": ["a"], "tag": ["x"]}), tmp_path / "checked.csv")
    assert started(tmp_path, tmp_path / "clean.yaml").dataset.trusted is None
    shown = " ".join(capsys.readouterr().out.split())
    assert "checked.csv may hold trusted; say which of its columns is what: id, tag." in shown
    assert "'label' holds numbers; class_names" in shown


def test_a_table_alone_is_named_with_what_it_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pq.write_table(pa.table({"id": ["a"], "text": ["hello"], "label": [0]}), tmp_path / "tweets.parquet")
    assert main(["init", str(tmp_path), "--out", str(tmp_path / "clean.yaml")]) == 2
    assert "holds only tweets.parquet" in capsys.readouterr().err


def test_an_existing_file_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture(tmp_path / "data" / "cat" / "1.png")
    mine = tmp_path / "clean.yaml"
    mine.write_text("mine")
    assert main(["init", str(tmp_path / "data"), "--out", str(mine)]) == 2
    assert mine.read_text() == "mine"
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "note.txt"])
def test_a_folder_without_data_is_refused(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if content:
        (tmp_path / content).write_text("hello")
    assert main(["init", str(tmp_path), "--out", str(tmp_path / "clean.yaml")]) == 2
    assert "nothing that looks like a dataset" in capsys.readouterr().err


def test_a_file_that_is_no_table_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.parquet").write_text("no parquet")
    assert main(["init", str(tmp_path), "--out", str(tmp_path / "clean.yaml")]) == 2
    assert "rows.parquet cannot be read" in capsys.readouterr().err
