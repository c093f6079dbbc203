"""Every form brings back what went in, for names and ids that nobody should have chosen."""

import base64
import csv
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest

from pipeline.errors import ConfigError
from pipeline.exports.export import FORMS, Chosen, export_labels, mask_of
from pipeline.exports.pictures import folder_names, safe_name
from pipeline.label_schema import json_schema
from pipeline.labelled import Labelled, open_labelled

NAMED = ["<b>cat</b> & \"dog\"", "שלום 🐕", "שלום 🐕", "../=1+1", "x" * 300, "../=1+1"]  # fmt: skip


def exported(labelled: Labelled, form: Any, path: Path, chosen: Chosen | None = None) -> Path:
    done = export_labels(labelled, form, path, chosen)
    assert list(path.parent.glob(".*.partial")) == []
    assert done.of == 6
    return done.path


def test_csv_comes_back_as_it_was(labelled: Labelled, tmp_path: Path) -> None:
    with exported(labelled, "csv", tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["sample_id"] for row in rows] == labelled.words("sample_id")
    assert [row["purified_name"] for row in rows] == NAMED
    assert (rows[3]["given_label"], rows[3]["given_name"]) == ("", "")
    assert json.loads(rows[1]["top_probs"]) == [0.7, 0.2]
    assert (rows[2]["note"], rows[2]["action"], rows[2]["own.action"]) == ("<i>2</i>", "review", "2")


def test_json_lines_fit_their_schema(labelled: Labelled, tmp_path: Path) -> None:
    text = exported(labelled, "jsonl", tmp_path / "t.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    schema = json_schema()
    for row in rows:
        jsonschema.validate(row, {**schema["$defs"]["row"], "$schema": schema["$schema"]})
    assert [row["purified_name"] for row in rows] == NAMED
    assert rows[3]["given_label"] is None
    assert rows[1]["top_probs"] == [0.7, 0.2]
    assert [row["own.action"] for row in rows] == [0, 1, 2, 3, 4, 5]
    wrong = rows[0] | {"action": "drop"}
    with pytest.raises(jsonschema.ValidationError, match="'drop' is not one of"):
        jsonschema.validate(wrong, schema["$defs"]["row"])


def test_image_folders_hold_the_bytes_that_came(labelled: Labelled, tmp_path: Path) -> None:
    folder = exported(labelled, "imagefolder", tmp_path / "out")
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[5]["file"] == ""
    for place, row in enumerate(rows[:5]):
        path = folder / row["file"]
        assert path.resolve().is_relative_to(folder.resolve())
        assert len(path.relative_to(folder).parts) == 3
        assert labelled.images is not None
        assert path.read_bytes() == labelled.images.read(place)
    assert [row["file"].rpartition(".")[2] for row in rows[:5]] == ["png", "jpg", "gif", "bmp", "webp"]
    assert [row["purified_name"] for row in rows] == NAMED
    assert len({Path(row["file"]).parent for row in rows[:5]}) == 4


def test_torchvision_reads_the_image_folder(labelled: Labelled, tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    folder = exported(labelled, "imagefolder", tmp_path / "out", Chosen(splits=("train",)))
    found = ImageFolder(str(folder / "train"), is_valid_file=lambda _: True)  # its own list lacks GIF
    assert len(found) == 5
    assert sorted(found.classes) == sorted(folder_names(labelled.classes))


def test_a_hugging_face_dataset_knows_its_images_and_classes(
    labelled: Labelled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    folder = exported(labelled, "hf-dataset", tmp_path / "out")
    found = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in found.items()} == {"train": 5, "test": 1}
    train = found["train"]
    assert train.features["label"].names == labelled.classes
    assert [train.features["label"].int2str(label) for label in train["label"]] == NAMED[:5]
    assert train["given_label"] == [0, 1, 2, None, 3]
    assert train[1]["image"].size == (4, 3)
    assert found["test"][0]["image"] is None
    assert train["sample_id"] == labelled.words("sample_id")[:5]
    assert train["own.action"] == [0, 1, 2, 3, 4]
    assert np.allclose(train[1]["top_probs"], [0.7, 0.2])


def test_label_studio_tasks_hold_image_and_prediction(labelled: Labelled, tmp_path: Path) -> None:
    folder = exported(labelled, "label-studio", tmp_path / "out")
    tasks = json.loads((folder / "tasks.json").read_text(encoding="utf-8"))
    assert [task["data"]["sample_id"] for task in tasks] == labelled.words("sample_id")
    chosen = [task["predictions"][0]["result"][0] for task in tasks]
    assert [c["value"]["choices"] for c in chosen] == [[name] for name in NAMED]
    start, _, data = tasks[1]["data"]["image"].partition(";base64,")
    assert start == "data:image/jpeg"
    assert labelled.images is not None
    assert base64.b64decode(data) == labelled.images.read(1)
    view = ElementTree.fromstring((folder / "interface.xml").read_text(encoding="utf-8"))
    assert [choice.get("value") for choice in view.iter("Choice")] == labelled.classes
    assert {c["to_name"] for c in chosen} == {element.get("name") for element in view.iter("Image")}


def test_label_studio_shows_the_users_columns_where_there_are_no_images(labelled: Labelled, tmp_path: Path) -> None:
    plain = Labelled(labelled.table, labelled.metadata, labelled.rows, own=labelled.own)
    folder = exported(plain, "label-studio", tmp_path / "out")
    tasks = json.loads((folder / "tasks.json").read_text(encoding="utf-8"))
    view = ElementTree.fromstring((folder / "interface.xml").read_text(encoding="utf-8"))
    assert [element.get("value") for element in view.iter("Text")] == ["$text", "$text1"]
    assert tasks[2]["data"]["text"] == "<i>2</i>"
    assert tasks[0]["predictions"][0]["result"][0]["to_name"] == "text"


def test_cleanlab_gets_labels_and_whole_beliefs(labelled: Labelled, tmp_path: Path) -> None:
    folder = exported(labelled, "cleanlab", tmp_path / "out")
    labels, beliefs = np.load(folder / "labels.npy"), np.load(folder / "pred_probs.npy")
    assert labels.tolist() == [0, 1, 2, 3, 0]
    assert beliefs.shape == (5, 4)
    assert np.allclose(beliefs.sum(axis=1), 1, atol=1e-6)
    assert np.allclose(beliefs[1], [0.05, 0.05, 0.7, 0.2], atol=1e-6)
    with (folder / "issues.csv").open(encoding="utf-8", newline="") as file:
        issues = list(csv.DictReader(file))
    assert [row["is_label_issue"] for row in issues] == ["false", "true", "false", "false", "true"]


def test_rows_are_chosen_by_action_split_and_confidence(labelled: Labelled) -> None:
    assert mask_of(labelled, Chosen(("relabelled",))).tolist() == [False, True, False, True, False, False]
    assert mask_of(labelled, Chosen(("keep", "relabel"), min_confidence=0.8)).sum() == 2
    assert mask_of(labelled, Chosen(splits=("test",))).sum() == 1
    with pytest.raises(ConfigError, match="no action 'drop'"):
        mask_of(labelled, Chosen(("drop",)))


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_written_over_and_nothing_empty_is_written(labelled: Labelled, tmp_path: Path, form: Any) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine").write_text("precious")
    with pytest.raises(ConfigError, match="is there already"):
        export_labels(labelled, form, tmp_path / "there")
    with pytest.raises(ConfigError, match="none of 6 rows fits"):
        export_labels(labelled, form, tmp_path / "none", Chosen(("keep",), min_confidence=0.99))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["store", "there"]


def test_a_table_alone_has_no_images(path: Path, tmp_path: Path) -> None:
    alone = tmp_path / "elsewhere" / "labels.parquet"
    alone.parent.mkdir()
    alone.write_bytes(path.read_bytes())
    labelled = open_labelled(alone)
    assert labelled.images is None
    assert exported(labelled, "csv", tmp_path / "t.csv").exists()
    with pytest.raises(ConfigError, match="imagefolder needs images"):
        export_labels(labelled, "imagefolder", tmp_path / "out")


def test_names_of_files_stay_apart_and_inside() -> None:
    assert folder_names(["a/b", "A_B", "..", "."]) == ["a_b", "A_B-1", "_", "_-3"]
    assert safe_name("  .hidden ") == "hidden"
    assert len(safe_name("é" * 300).encode()) <= 80
