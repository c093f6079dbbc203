"""What a form may name: files below the data roots, whatever links and dots say."""

from pathlib import Path
from typing import Any

import pytest

from flows.document import CleanRequest, check_document
from flows.service.roots import check_paths
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


def test_a_file_that_is_not_there_is_said_at_once(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.path = .*holidays' is not there"):
        check_paths(request(root, "holidays"), [root])
