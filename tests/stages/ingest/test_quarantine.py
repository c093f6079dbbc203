"""Broken images are put aside with a reason; paths never lead out of the folders that may be read."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import DataError, UnsafeError
from stages.ingest import pictures


def test_every_kind_of_breakage_has_its_reason(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    good = desk.picture(1, (40, 30))
    monkeypatch.setattr(pictures, "MOST_FILE_BYTES", 20_000)
    desk.write("c/good.png", good)
    desk.write("c/torn.png", good[: len(good) // 2])
    desk.write("c/empty.png", b"")
    desk.write("c/text.png", b"hello")
    desk.write("c/large.png", desk.picture(2, (60, 60)))
    desk.write("c/long.png", bytes(20_001))
    made = desk.run("image_folder", path=".", max_pixels=1500)
    reasons = made.reasons()
    assert {name: reason.split(" ")[0] for name, reason in reasons.items()} == {
        "c/empty.png": "empty:", "c/large.png": "oversize:", "c/long.png": "oversize:", "c/text.png": "not",
        "c/torn.png": "cannot",
    }  # fmt: skip
    assert made.metrics["quarantined"] == 5
    assert made.metrics["ok"] == 1
    assert len(made.metrics["quarantine"]) == 5
    rows = {r["sample_id"]: r for r in made.images.rows.to_pylist()}
    assert rows["c/good.png"]["width"] == 40
    assert rows["c/torn.png"]["length"] == len(good) // 2
    assert rows["c/empty.png"]["shard"] == rows["c/long.png"]["shard"] == ""


def test_rows_without_a_file_are_broken_not_lost(desk: Any) -> None:
    desk.pictures(["a.png"])
    (desk.folder / "folder.png").mkdir()
    desk.csv(
        "rows.csv",
        ["sample_id", "image", "given_label"],
        [[1, "a.png", 0], [2, "b.png", 1], [3, "", 1], [4, "folder.png", 0]],
    )
    made = desk.run("table", path="rows.csv")
    assert list(made.reasons()) == ["2", "3", "4"]
    assert all(reason.startswith("missing") for reason in made.reasons().values())
    assert len(made.annotations) == 4


def test_embedded_images_may_be_missing_or_empty(desk: Any) -> None:
    desk.parquet(
        "rows.parquet", {"sample_id": list("abc"), "image": [desk.picture(), None, b""], "given_label": [0, 0, 0]}
    )
    reasons = desk.run("parquet", path="rows.parquet").reasons()
    assert reasons == {"b": "missing: the row holds no image", "c": "empty: 0 bytes"}


def test_a_dataset_of_broken_images_only_is_an_error(desk: Any) -> None:
    desk.write("c/a.png", b"x")
    with pytest.raises(DataError, match=r"none of 1 images can be used: 'c/a.png: not an image"):
        desk.run("image_folder", path=".")


def test_identical_bytes_are_counted_also_across_splits(desk: Any) -> None:
    same, other = desk.picture(0), desk.picture(1)
    for name, data in {
        "train/a/1": same,
        "train/a/2": same,
        "test/a/3": same,
        "train/b/4": other,
        "train/b/5": other,
    }.items():
        desk.write(f"{name}.png", data)
    desk.csv("trusted.csv", ["sample_id", "trusted_label"], [["train/a/1.png", "a"], ["train/a/2.png", "b"]])
    made = desk.run("image_folder", path=".", trusted={"path": str(desk.folder / "trusted.csv")})
    assert made.metrics["duplicates"] == 3
    assert made.metrics["duplicates_across_splits"] == 3
    assert any("trusted to be different classes" in warning for warning in made.metrics["warnings"])


@pytest.mark.parametrize(
    "climb", ["../secret.png", "{outside}/secret.png", "link/secret.png", "linked.png", "http://host/x.png"]
)
def test_paths_that_climb_out_are_refused(desk: Any, tmp_path: Path, climb: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for place in (outside, tmp_path):
        (place / "secret.png").write_bytes(desk.picture())
    (desk.folder / "link").symlink_to(outside)
    (desk.folder / "linked.png").symlink_to(outside / "secret.png")
    text = climb.format(outside=outside)
    desk.csv("rows.csv", ["sample_id", "image", "given_label"], [["x", text, 0]])
    with pytest.raises(UnsafeError, match="1 image paths lead out of the folders that may be read: 'row 0: "):
        desk.run("table", path="rows.csv")


def test_a_folder_with_links_that_lead_out_is_refused_unless_allowed(
    desk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.png").write_bytes(desk.picture())
    desk.pictures(["c/a.png"])
    (desk.folder / "c/link.png").symlink_to(outside / "x.png")
    with pytest.raises(UnsafeError, match=r"symbolic links .* lead out .*'c/link.png'"):
        desk.run("image_folder", path=".")
    monkeypatch.setenv("PURIFLOW_DATA_ROOTS", str(tmp_path))
    assert list(desk.run("image_folder", path=".").given()) == ["c/a.png", "c/link.png"]


def test_only_allowed_folders_are_read(desk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.pictures(["c/a.png"])
    monkeypatch.setenv("PURIFLOW_DATA_ROOTS", str(tmp_path / "elsewhere"))
    with pytest.raises(UnsafeError, match="outside the folders that may be read"):
        desk.run("image_folder", path=".")


def test_reference_mode_leaves_files_in_place_and_checks_them(desk: Any) -> None:
    first, second = desk.pictures(["c/a.png", "c/b.png"])
    images = desk.run("image_folder", path=".", images="reference").images
    assert images.read(0) == first.read_bytes()
    assert not desk.store.children("shards")
    first.write_bytes(desk.picture(9))
    second.unlink()
    with pytest.raises(DataError, match=r"a.png of row 'c/a.png' is not the one that was ingested"):
        images.read(0)
    with pytest.raises(DataError, match=r"b.png of row 'c/b.png' cannot be read"):
        images.read(1)


@pytest.mark.parametrize("images", ["copy", "reference"])
def test_opened_images_travel_to_other_processes(desk: Any, images: str) -> None:
    desk.pictures(["c/a.png", "c/b.png"])
    opened = desk.run("image_folder", path=".", images=images).images
    assert opened.read(1) == desk.picture(1)
    assert pickle.loads(pickle.dumps(opened)).read(1) == desk.picture(1)


def test_images_of_every_encoding_arrive_unchanged(desk: Any) -> None:
    data = {kind: desk.picture(0, (9, 9), kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")}
    for kind, encoded in data.items():
        desk.write(f"c/{kind}.{kind}", encoded)
    made = desk.run("image_folder", path=".")
    assert [made.images.read(i) for i in range(6)] == [data[Path(s).stem] for s in made.images.sample_ids]
    np.testing.assert_array_equal(made.images.rows["width"].to_numpy(), 9)
