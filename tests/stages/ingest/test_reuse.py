"""What has not changed is neither read nor decoded again, and keys follow content alone."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from stages.ingest import shards
from stages.ingest.workers import Answer, Question, Workers


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note every image that a worker is asked about."""
    names: list[str] = []
    examine = Workers.examine

    def noting(self: Workers, question: Question) -> Answer:
        names.extend(Path(p).name for p in question.paths)
        names.extend("bytes" for _ in question.blobs)
        return examine(self, question)

    monkeypatch.setattr(Workers, "examine", noting)
    return names


def keys(made: Any) -> tuple[str, str]:
    return made.part("images").key, made.part("annotations").key


def test_an_unchanged_folder_is_not_read_again(desk: Any, asked: list[str]) -> None:
    desk.pictures([f"c/{i}.png" for i in range(5)])
    first = desk.run("image_folder", path=".")
    assert len(asked) == 5
    asked.clear()
    again = desk.run("image_folder", previous=first, path=".")
    assert asked == []
    assert keys(again) == keys(first)


def test_only_new_and_changed_files_are_read(desk: Any, asked: list[str]) -> None:
    desk.pictures([f"c/{i}.png" for i in range(5)])
    first = desk.run("image_folder", path=".")
    asked.clear()
    desk.write("c/3.png", desk.picture(77))
    desk.write("b/new.png", desk.picture(78))
    (desk.folder / "c/0.png").unlink()
    second = desk.run("image_folder", previous=first, path=".")
    assert sorted(asked) == ["3.png", "new.png"]
    for row, name in enumerate(second.images.sample_ids):
        assert second.images.read(row) == (desk.folder / name).read_bytes()


def test_rehash_and_another_pixel_limit_read_everything(desk: Any, asked: list[str]) -> None:
    desk.pictures([f"c/{i}.png" for i in range(3)])
    first = desk.run("image_folder", path=".")
    asked.clear()
    assert keys(desk.run("image_folder", previous=first, path=".", rehash=True)) == keys(first)
    assert len(asked) == 3
    limited = desk.run("image_folder", previous=first, path=".", max_pixels=36)
    assert len(asked) == 6
    assert limited.part("images").key == first.part("images").key


def test_times_and_places_do_not_change_keys(desk: Any, tmp_path: Path) -> None:
    desk.pictures(["c/1.png", "d/2.png"])
    first = desk.run("image_folder", path=".")
    shutil.copytree(desk.folder, tmp_path / "moved")
    for path in (tmp_path / "moved").rglob("*.png"):
        os.utime(path, (1, 1))
    assert keys(desk.run("image_folder", path=str(tmp_path / "moved"))) == keys(first)
    inside = desk.run("image_folder", path=".", images="reference")
    moved = desk.run("image_folder", path=str(tmp_path / "moved"), images="reference")
    assert inside.part("images").key != moved.part("images").key, "their files are read where they are"


def test_a_relabelled_table_touches_no_image(desk: Any, asked: list[str]) -> None:
    desk.pictures(["1.png", "2.png"])
    rows = [["1.png", "a"], ["2.png", "b"]]
    desk.csv("rows.csv", ["image", "given_label"], rows)
    first = desk.run("table", path="rows.csv")
    asked.clear()
    desk.csv("rows.csv", ["image", "given_label"], [["1.png", "b"], ["2.png", "b"]])
    second = desk.run("table", previous=first, path="rows.csv")
    assert asked == []
    assert second.part("images").ref == first.part("images").ref
    assert second.part("annotations").key != first.part("annotations").key


def test_a_relabelled_parquet_file_is_read_but_not_decoded(desk: Any, asked: list[str]) -> None:
    columns = {"sample_id": list("abc"), "image": [desk.picture(i) for i in range(3)], "given_label": [0, 1, 0]}
    desk.parquet("rows.parquet", columns)
    first = desk.run("parquet", path="rows.parquet")
    assert asked == ["bytes"] * 3
    asked.clear()
    desk.parquet("rows.parquet", columns | {"given_label": [1, 1, 0]})
    second = desk.run("parquet", previous=first, path="rows.parquet")
    third = desk.run("parquet", previous=second, path="rows.parquet")
    assert asked == []
    assert keys(third) == keys(second)
    assert second.part("images").ref == first.part("images").ref
    grown = {name: [*values, values[-1]] for name, values in columns.items()}
    desk.parquet("rows.parquet", grown | {"sample_id": list("abcd"), "image": [*columns["image"], desk.picture(9)]})
    fourth = desk.run("parquet", previous=third, path="rows.parquet")
    assert asked == ["bytes"]
    assert fourth.images.read(3) == desk.picture(9)


def test_a_new_trusted_row_makes_new_annotations_only(desk: Any) -> None:
    desk.pictures(["a/1.png", "b/2.png"])
    first = desk.run("image_folder", path=".")
    desk.csv("trusted.csv", ["sample_id", "trusted_label"], [["a/1.png", "b"]])
    second = desk.run("image_folder", path=".", trusted={"path": "trusted.csv"})
    assert second.part("images").ref == first.part("images").ref
    assert second.part("annotations").key != first.part("annotations").key


def test_lost_artifacts_are_made_again(desk: Any) -> None:
    desk.pictures(["c/1.png", "c/2.png"])
    first = desk.run("image_folder", path=".")
    desk.store.remove(f"shards/{first.images.rows['shard'][0]}")
    desk.store.remove(f"images/{first.part('images').key}")
    again = desk.run("image_folder", previous=first, path=".")
    assert again.images.read(1) == (desk.folder / "c/2.png").read_bytes()


def test_an_insertion_rewrites_few_shards(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "LEAST_BYTES", 400)
    monkeypatch.setattr(shards, "MEAN_BYTES", 800)
    monkeypatch.setattr(shards, "MOST_BYTES", 4000)
    desk.pictures([f"c/{i:03d}.png" for i in range(120)])
    first = desk.run("image_folder", path=".")
    before = set(desk.store.children("shards"))
    desk.write("c/0505.png", desk.picture(999))
    second = desk.run("image_folder", previous=first, path=".")
    added = set(desk.store.children("shards")) - before
    assert len(before) > 8
    assert 1 <= len(added) <= 3
    for row, name in enumerate(second.images.sample_ids):
        assert second.images.read(row) == (desk.folder / name).read_bytes()
    named = {ref.key for ref in second.part("images").manifest.inputs.values()}
    assert named == set(second.images.rows["shard"].to_pylist())


def test_equal_runs_write_equal_files(desk: Any) -> None:
    desk.pictures([f"c{i % 2}/{i}.png" for i in range(6)])
    desk.csv("trusted.csv", ["sample_id", "trusted_label"], [["c0/0.png", "c1"], ["c1/1.png", "c1"]])
    first = desk.run("image_folder", path=".", trusted={"path": "trusted.csv"})
    found = {name: first.part(name).manifest.files for name in ("images", "annotations")}
    for kind in ("images", "annotations", "shards"):
        desk.store.remove(kind)
    second = desk.run("image_folder", path=".", trusted={"path": "trusted.csv"})
    assert {name: second.part(name).manifest.files for name in found} == found
    assert second.artifact.manifest.files == first.artifact.manifest.files
