"""What a form may name: files below the data roots, whatever links and dots say."""

from pathlib import Path
from typing import Any

import pytest

from flows.document import CleanRequest, check_document
from flows.service.roots import check_paths
from flows.service.surroundings import confined
from pipeline.datasets.sources import fingerprint
from pipeline.errors import ConfigError, UnsafeError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data" / "photos").mkdir(parents=True)
    (tmp_path / "data" / "checked.csv").write_text("id,label\n")
    (tmp_path / "secret").mkdir()
    (tmp_path / "data" / "link").symlink_to(tmp_path / "secret")
    return tmp_path / "data"


def request(root: Path, path: str, **more: Any) -> CleanRequest:
    """Write a request whose relative paths start from the root."""
    dataset = {"name": "photos", "kind": "image_folder", "path": [path], **more}
    return check_document({"dataset": dataset}, "the form").resolved(root)


def test_files_below_a_root_pass(root: Path) -> None:
    check_paths(request(root, "photos", trusted={"path": "checked.csv", "columns": {"trusted_label": "label"}}), [root])


def test_a_pattern_is_judged_by_its_fixed_part(root: Path) -> None:
    check_paths(request(root, "photos/*/2024-??"), [root])
    with pytest.raises(UnsafeError, match="outside the folders that this service may read"):
        check_paths(request(root, "../*/x"), [root])


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret", "photos/../../secret", "link"])
def test_what_lies_outside_is_refused_however_it_is_written(root: Path, path: str) -> None:
    with pytest.raises(UnsafeError, match=r"dataset\.path = .* is outside the folders"):
        check_paths(request(root, path), [root])


def test_side_tables_and_weights_are_judged_too(root: Path) -> None:
    with pytest.raises(UnsafeError, match=r"dataset\.trusted\.path"):
        check_paths(request(root, "photos", trusted={"path": "/etc/passwd"}), [root])
    asked = request(root, "photos")
    weights = asked.represent.weights.model_copy(update={"path": "/elsewhere/model.pth"})
    represent = asked.represent.model_copy(update={"method": "weights", "weights": weights})
    with pytest.raises(UnsafeError, match=r"represent\.weights\.path"):
        check_paths(asked.model_copy(update={"represent": represent}), [root])
    start = {"start_from": "weights", "backbone": "resnet18", "weights": weights}
    retrain = asked.retrain.model_copy(update=start)
    with pytest.raises(UnsafeError, match=r"retrain\.weights\.path"):
        check_paths(asked.model_copy(update={"retrain": retrain}), [root])


def test_a_file_that_is_not_there_is_said_at_once(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.path = .*holidays' is not there"):
        check_paths(request(root, "holidays"), [root])


@pytest.mark.parametrize("variable", ["PURIFLOW_DATA_ROOT", "PURIFLOW_DATA_ROOTS"])
@pytest.mark.parametrize("image", ["{secret}/key.png", "../secret/key.png", "link/key.png", "photos/key.png"])
def test_images_that_a_table_names_are_held_to_the_roots(
    root: Path, monkeypatch: pytest.MonkeyPatch, variable: str, image: str
) -> None:
    secret = root.parent / "secret" / "key.png"
    secret.write_bytes(b"a secret")
    (root / "photos" / "key.png").symlink_to(secret)
    (root / "rows.csv").write_text(f"image,given_label\n{image.format(secret=secret.parent)},a\n")
    hold_to(root, monkeypatch, variable)
    with pytest.raises(UnsafeError, match="1 image paths lead out of the folders that may be read"):
        fingerprint(request(root, "rows.csv", kind="table").dataset)


def test_a_pattern_does_not_lead_out_by_a_link(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root.parent / "secret" / "a.csv").write_text("image,given_label\nkey.png,a\n")
    asked = request(root, "l*nk/*.csv", kind="table")
    check_paths(asked, [root])  # its fixed part is inside
    hold_to(root, monkeypatch, "PURIFLOW_DATA_ROOT")
    with pytest.raises(UnsafeError, match=r"link/a\.csv is outside the folders that may be read"):
        fingerprint(asked.dataset)


def hold_to(root: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """Do what a flow does first on a worker that is told its data root by one variable or the other."""
    monkeypatch.setenv("PURIFLOW_STORE", str(root.parent / "store"))
    monkeypatch.setenv("PURIFLOW_DATA_ROOTS", "")  # so that it is as before afterwards
    monkeypatch.setenv(variable, str(root))
    confined()
