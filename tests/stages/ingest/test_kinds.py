"""Every way to lay out samples is read into the same rows."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import ConfigError, DataError


def test_an_image_folder_gives_classes_and_ids_by_place(desk: Any) -> None:
    desk.pictures(["cat/1.png", "cat/deep/2.PNG", "dög house/ä b.png", ".hidden/x.png", "cat/.3.png"])
    desk.write("notes.txt", "not an image")
    made = desk.run("image_folder", path=".")
    assert made.given() == {"cat/1.png": "cat", "cat/deep/2.PNG": "cat", "dög house/ä b.png": "dög house"}
    assert set(made.annotations.split) == {"train"}
    assert made.metrics["class_names_derived"] is True
    assert "notes.txt" in made.metrics["warnings"][0]


def test_split_folders_are_splits_only_where_all_top_folders_are(desk: Any) -> None:
    desk.pictures(["a/train/cat/1.png", "a/val/cat/1.png", "a/test/1.png", "b/train/1.png", "b/cat/1.png"])
    made = desk.run("image_folder", path="a")
    assert dict(zip(made.annotations.sample_ids, made.annotations.split, strict=True)) == {
        "test/1.png": "test", "train/cat/1.png": "train", "val/cat/1.png": "validation",
    }  # fmt: skip
    assert made.given() == {"test/1.png": None, "train/cat/1.png": "cat", "val/cat/1.png": "cat"}
    assert desk.run("image_folder", path="b").given() == {"cat/1.png": "cat", "train/1.png": "train"}


def test_several_folders_share_one_space_of_ids(desk: Any) -> None:
    desk.pictures(["one/cat/1.png", "two/cat/1.png"])
    made = desk.run("image_folder", path="one", test_path="two")
    assert made.given() == {"one/cat/1.png": "cat", "two/cat/1.png": "cat"}
    assert list(made.annotations.split) == ["train", "test"]


def test_links_inside_are_followed_once(desk: Any) -> None:
    desk.pictures(["cat/1.png"])
    (desk.folder / "cat/again").symlink_to(desk.folder / "cat")
    (desk.folder / "cat/2.png").symlink_to(desk.folder / "cat/1.png")
    assert list(desk.run("image_folder", path=".").given()) == ["cat/1.png", "cat/2.png"]


def test_a_table_of_paths_keeps_row_order_and_own_columns(desk: Any) -> None:
    desk.pictures(["pics/b.png", "pics/a.png"])
    desk.csv(
        "rows.csv",
        ["image", "given_label", "price", "zip"],
        [["pics/b.png", "x", "1.5", "007"], ["pics/a.png", "y", "", "1"]],
    )
    made = desk.run("table", path="rows.csv")
    assert made.given() == {"pics/b.png": "x", "pics/a.png": "y"}
    assert made.annotations.own is not None
    assert made.annotations.own.to_pylist() == [
        {"sample_id": "pics/b.png", "price": 1.5, "zip": "007"}, {"sample_id": "pics/a.png", "price": None, "zip": "1"},
    ]  # fmt: skip


def test_a_table_may_lie_elsewhere_than_its_images(desk: Any) -> None:
    desk.pictures(["pics/a.png"])
    desk.csv("tables/rows.csv", ["sample_id", "image", "given_label"], [["one", "a.png", 0]])
    assert desk.run("table", path="tables/rows.csv", root="pics").images.rows["source"].to_pylist() == ["a.png"]


@pytest.mark.parametrize("form", ["binary", "struct", "path"])
def test_parquet_holds_images_in_three_forms(desk: Any, form: str) -> None:
    data = [desk.picture(i) for i in range(3)]
    desk.pictures(["0.png", "1.png", "2.png"])
    image = {
        "binary": pa.array(data), "struct": pa.array([{"bytes": d, "path": None} for d in data]),
        "path": pa.array(["0.png", "1.png", "2.png"]),
    }[form]  # fmt: skip
    desk.parquet("rows.parquet", {"key": [7, 8, 9], "picture": image, "label": [1, 0, 1]})
    made = desk.run(
        "parquet", path="rows.parquet", columns={"sample_id": "key", "image": "picture", "given_label": "label"}
    )
    assert made.given() == {"7": "1", "8": "0", "9": "1"}
    assert [made.images.read(i) for i in range(3)] == data
    assert made.annotations.own is None


def test_a_parquet_file_of_nothing_but_images_takes_its_labels_from_elsewhere(desk: Any) -> None:
    desk.parquet("rows.parquet", {"image": [desk.picture(0), desk.picture(1)]})
    desk.csv("labels.csv", ["sample_id", "given_label"], [["rows.parquet:1", "cat"]])
    made = desk.run("parquet", path="rows.parquet", labels={"path": "labels.csv"})
    assert made.given() == {"rows.parquet:0": None, "rows.parquet:1": "cat"}


def test_parquet_shards_follow_their_names_and_get_ids_with_a_warning(desk: Any) -> None:
    for number in (1, 0):
        desk.parquet(f"part-{number}.parquet", {"image": [desk.picture(number)], "given_label": [number]})
    made = desk.run("parquet", path="part-*.parquet")
    assert made.given() == {"part-0.parquet:0": "0", "part-1.parquet:0": "1"}
    assert "sample ids" in made.metrics["warnings"][0]


def test_a_linked_table_goes_by_the_name_it_is_given(desk: Any, tmp_path: Path) -> None:
    desk.parquet("rows.parquet", {"image": [desk.picture()], "given_label": [0]}).rename(tmp_path / "elsewhere.parquet")
    (desk.folder / "rows.parquet").symlink_to(tmp_path / "elsewhere.parquet")
    assert list(desk.run("parquet", path="rows.parquet").given()) == ["rows.parquet:0"]


def test_a_test_path_marks_its_rows(desk: Any) -> None:
    for name in ("train", "test"):
        desk.parquet(f"{name}.parquet", {"sample_id": [name], "image": [desk.picture(0)], "given_label": [0]})
    made = desk.run("parquet", path="train.parquet", test_path="test.parquet")
    assert list(made.annotations.split) == ["train", "test"]
    assert made.metrics["duplicates_across_splits"] == 2


@pytest.mark.parametrize("form", ["npy", "parquet"])
def test_features_go_with_the_rows_of_their_table(desk: Any, form: str) -> None:
    values = np.arange(12, dtype=np.float32).reshape(4, 3) / 7
    desk.csv("rows.csv", ["sample_id", "given_label", "note"], [[f"r{i}", i % 2, "n"] for i in range(4)])
    if form == "npy":
        np.save(desk.folder / "features.npy", values)
    else:
        turned = pa.array(values[::-1].tolist(), pa.list_(pa.float32(), 3))
        desk.parquet("features.parquet", {"sample_id": [f"r{i}" for i in (3, 2, 1, 0)], "features": turned})
    made = desk.run("features", table="rows.csv", features=f"features.{form}")
    assert list(made.features.sample_ids) == made.annotations.sample_ids == ["r0", "r1", "r2", "r3"]
    np.testing.assert_allclose(made.features.array(), values, rtol=1e-3)


def test_features_in_parts_are_one_matrix(desk: Any) -> None:
    desk.csv("rows.csv", ["sample_id", "given_label"], [[f"r{i}", 0] for i in range(3)])
    np.save(desk.folder / "f0.npy", np.ones((2, 2)))
    np.save(desk.folder / "f1.npy", np.full((1, 2), 5, np.uint8))
    made = desk.run("features", table="rows.csv", features=["f0.npy", "f1.npy"])
    assert made.features.array().tolist() == [[1, 1], [1, 1], [5, 5]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((2, 2)), "features have 2 rows but the table has 3"),
        (np.array([[1.0], [np.nan], [np.inf]]), "features of 2 of 3 rows hold NaN.*'r1', 'r2'"),
        (np.ones(3), r"shape \(3,\)"),
        (np.array([["a"], ["b"], ["c"]]), "Expected: numbers"),
    ],
)
def test_features_that_do_not_fit_are_refused(desk: Any, values: np.ndarray, message: str) -> None:
    desk.csv("rows.csv", ["sample_id", "given_label"], [[f"r{i}", 0] for i in range(3)])
    np.save(desk.folder / "features.npy", values)
    with pytest.raises(DataError, match=message):
        desk.run("features", table="rows.csv", features="features.npy")


def test_features_of_unknown_and_missing_ids_are_refused(desk: Any) -> None:
    desk.csv("rows.csv", ["sample_id", "given_label"], [["a", 0], ["b", 0]])
    desk.parquet("features.parquet", {"sample_id": ["a", "c"], "features": [[1.0], [2.0]]})
    with pytest.raises(DataError, match="1 of 2 rows have no features: 'b'"):
        desk.run("features", table="rows.csv", features="features.parquet")


def test_torchvision_datasets_are_read_from_local_files(desk: Any) -> None:
    raw = desk.folder / "MNIST/raw"
    raw.mkdir(parents=True)
    for name, count in (("train", 3), ("t10k", 2)):
        head = np.array([0x803, count, 28, 28], ">i4").tobytes()
        pixels = np.arange(count * 28 * 28, dtype=np.uint32).astype(np.uint8)
        (raw / f"{name}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        labels = bytes(range(count))
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(np.array([0x801, count], ">i4").tobytes() + labels)
    made = desk.run("torchvision", path=".", torchvision="MNIST")
    assert made.given()["MNIST/train:2"] == "2 - two"
    assert list(made.annotations.split) == ["train"] * 3 + ["test"] * 2
    assert made.images.ok.all()


def test_torchvision_says_what_it_lacks(desk: Any) -> None:
    with pytest.raises(DataError, match="CIFAR10 finds no data"):
        desk.run("torchvision", path=".", torchvision="CIFAR10")
    with pytest.raises(ConfigError, match="no dataset 'CIFAR11'"):
        desk.run("torchvision", path=".", torchvision="CIFAR11")


def test_the_working_directory_does_not_matter(desk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.pictures(["cat/1.png"])
    os.makedirs(tmp_path / "stages/ingest")  # noqa: PTH103
    (tmp_path / "stages/ingest/worker.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    assert desk.run("image_folder", path=".").images.ok.all()
