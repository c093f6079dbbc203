"""The file of weights that somebody brings: found, allowed, and named by its content."""

import hashlib
import os
from pathlib import Path

import pytest

from pipeline.datasets.files import ROOTS_ENV
from pipeline.errors import ConfigError, UnsafeError
from pipeline.weights import checked_weights, find_weights


def test_a_file_is_named_by_its_content_not_its_place(tmp_path: Path) -> None:
    first, second = tmp_path / "a.pth", tmp_path / "b.pth"
    for path in (first, second):
        path.write_bytes(b"weights")
    expected = hashlib.sha256(b"weights").hexdigest()
    assert checked_weights(str(first)) == (first, expected)
    assert checked_weights(str(second), expected) == (second, expected)


def test_a_file_that_changed_has_another_checksum(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(b"weights")
    _, before = checked_weights(str(path))
    path.write_bytes(b"WEIGHTS")
    os.utime(path, (1, 1))
    with pytest.raises(ConfigError, match=rf"has the sha256 [0-9a-f]+, but represent\.weights\.sha256 says {before}"):
        checked_weights(str(path), before)


def test_a_missing_file_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "resnet50.pth").touch()
    with pytest.raises(ConfigError, match=r"resnet5\.pth is not there\. .*resnet50\.pth"):
        find_weights(str(tmp_path / "resnet5.pth"))
    with pytest.raises(ConfigError, match=r"is not there\. Check the folder"):
        find_weights(str(tmp_path / "nowhere" / "a.pth"))


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder"):
        find_weights(str(tmp_path))


def test_a_file_outside_the_folders_that_may_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    inside, outside, link = tmp_path / "in" / "a.pth", tmp_path / "b.pth", tmp_path / "in" / "link.pth"
    inside.touch()
    outside.touch()
    link.symlink_to(outside)
    monkeypatch.setenv(ROOTS_ENV, str(tmp_path / "in"))
    assert find_weights(str(inside)) == inside
    for path in (outside, link):
        with pytest.raises(UnsafeError, match="outside the folders that may be read"):
            find_weights(str(path))
