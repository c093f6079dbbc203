from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.datasets.config import DatasetConfig
from pipeline.errors import UnsafeError


def config(**fields: Any) -> DatasetConfig:
    return DatasetConfig.model_validate({"name": "toys", "kind": "table", "path": "rows.csv"} | fields)


def test_one_string_is_a_list_of_one() -> None:
    made = config(columns={"given_label": "label"}, trusted={"path": "t.csv"})
    assert made.path == ("rows.csv",)
    assert made.columns.given_label == ("label",)
    assert made.trusted is not None
    assert made.trusted.path == ("t.csv",)
    assert DatasetConfig.model_validate(made.model_dump(mode="json")) == made


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "features"}, r"dataset\.table is missing; kind features needs it"),
        ({"kind": "features", "table": "t", "features": "f"}, r"dataset\.path does not fit kind features"),
        ({"kind": "image_folder", "columns": {"given_label": "x"}}, r"dataset\.columns does not fit kind image_folder"),
        ({"kind": "parquet", "images": "reference"}, r"dataset\.images does not fit kind parquet"),
        ({"kind": "torchvision"}, r"dataset\.torchvision is missing"),
        ({"path": []}, r"dataset\.path is missing"),
        ({"class_names": ["a", "b", "a"]}, "class_names repeats 'a'"),
        ({"name": "My Photos"}, "String should match pattern"),
        ({"paht": "x"}, "Extra inputs are not permitted"),
        ({"path": [1]}, "Input should be a valid string"),
        ({"kind": "folder"}, "Input should be 'image_folder'"),
    ],
)
def test_what_does_not_fit_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config(**fields)


def test_urls_are_refused_and_passwords_never_repeated() -> None:
    with pytest.raises(UnsafeError, match="URL with credentials") as caught:
        config(path="https://me:hunter2@host/x.csv")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(UnsafeError, match="http URL"):
        config(trusted={"path": "http://host/x.csv"})
    assert config(path="file:///a/b.csv").path == ("/a/b.csv",)


def test_paths_start_from_the_folder_of_the_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    made = config(path=["a.csv", "/b.csv", "~/c-*.csv"], root="pics", splits={"path": "s.csv"}).resolved(Path("/data"))
    assert made.path == ("/data/a.csv", "/b.csv", "/home/me/c-*.csv")
    assert made.root == "/data/pics"
    assert made.splits is not None
    assert made.splits.path == ("/data/s.csv",)
    assert made.resolved(Path("/other")) == made


def test_a_wish_to_read_again_is_not_part_of_the_key() -> None:
    assert config(rehash=True).identity() == config().identity()
    assert config(title="x").identity() != config().identity()


def test_null_paths_are_none_and_what_is_no_path_is_a_fault() -> None:
    assert config(validation_path=None).validation_path == ()
    with pytest.raises(ValidationError, match="path is missing; kind table needs it"):
        config(path=None)
    for wrong in (5, {"a": 1}, [1]):
        with pytest.raises(ValidationError, match="path"):
            config(path=wrong)
