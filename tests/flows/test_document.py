from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from flows.cli.options import Profile
from flows.document import PROFILES, CleanRequest, check_document, load_document, merge
from flows.faults import sub_model
from flows.reference import HEAD
from pipeline.errors import ConfigError

YAML = """
dataset: {name: shop, kind: parquet, path: shard.parquet, columns: {sample_id: id, image: image, given_label: label}}
purify: {method: knn}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "clean.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def fault(tmp_path: Path, text: str, *settings: str) -> str:
    with pytest.raises(ConfigError, match=r"does not fit|not valid|stands twice|no sections") as caught:
        load_document(write(tmp_path, text), settings)
    return caught.value.message


def test_relative_paths_start_at_the_yamls_folder(tmp_path: Path) -> None:
    request = load_document(write(tmp_path, YAML))
    assert [str(p) for p in request.dataset.path] == [str(tmp_path / "shard.parquet")]


def test_settings_win_over_the_file(tmp_path: Path) -> None:
    request = load_document(write(tmp_path, YAML), ["purify.method=keep", "purify.knn.neighbours=7", "title='7: x'"])
    assert (request.purify.method, request.purify.knn.neighbours, request.title) == ("keep", 7, "7: x")


def test_the_file_wins_over_the_profile(tmp_path: Path) -> None:
    quick, plain = (load_document(write(tmp_path, YAML), (), profile) for profile in ("quick", ""))
    assert quick.represent.epochs < plain.represent.epochs
    assert quick.purify.method == "knn"


@pytest.mark.parametrize("profile", sorted(path.stem for path in PROFILES.glob("*.yaml")))
def test_every_profile_fits_and_is_named(tmp_path: Path, profile: str) -> None:
    assert load_document(write(tmp_path, YAML), (), profile) != load_document(write(tmp_path, YAML), (), "")
    assert profile in HEAD
    assert profile in get_args(Profile)[1].help


def test_an_unknown_profile_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no profile 'fast'.*quick"):
        load_document(write(tmp_path, YAML), (), "fast")


def test_the_seed_reaches_every_stage_that_names_none(tmp_path: Path) -> None:
    request = load_document(write(tmp_path, "seed: 5\n" + YAML.replace("{method: knn}", "{seed: 9}")))
    assert (request.represent.seed, request.purify.seed, request.retrain.seed) == (5, 9, 5)


def test_null_means_absent(tmp_path: Path) -> None:
    plain, nulls = write(tmp_path, YAML), ["seed=null", "purify.folds=null", "retrain=null", "dataset.trusted=null"]
    assert load_document(plain, nulls) == load_document(plain)


def test_a_mistyped_key_is_told_with_the_nearest(tmp_path: Path) -> None:
    message = fault(tmp_path, YAML.replace("purify: {method", "purify: {metod"))
    assert "purify.metod: unknown key (did you mean 'method'?)" in message
    assert "audit_share" in message  # what is allowed


def test_a_mistyped_section_is_told_with_the_nearest(tmp_path: Path) -> None:
    assert "purfy: unknown key (did you mean 'purify'?)" in fault(tmp_path, YAML.replace("purify:", "purfy:"))


def test_a_mistyped_value_is_told_with_what_is_allowed(tmp_path: Path) -> None:
    message = fault(tmp_path, YAML.replace("knn", "knnn"))
    assert "purify.method = 'knnn': must be one of fusion, keep, knn" in message
    assert "did you mean 'knn'" in message


def test_every_fault_has_its_own_line(tmp_path: Path) -> None:
    message = fault(tmp_path, YAML, "purify.metod=1", "retrain.epochs=0", "seed=-1")
    assert len([line for line in message.splitlines() if line.startswith("  ")]) == 3


def test_a_missing_dataset_is_described(tmp_path: Path) -> None:
    assert "dataset: is missing (Where rows" in fault(tmp_path, "title: x\n")


def test_a_repeated_key_is_refused(tmp_path: Path) -> None:
    assert "'purify' stands twice" in fault(tmp_path, YAML + "purify: {method: keep}\n")


def test_broken_yaml_names_the_line(tmp_path: Path) -> None:
    assert "line 2" in fault(tmp_path, "title: x\n  a: [1\n")


def test_broken_yaml_is_told_in_one_line(tmp_path: Path) -> None:
    assert "line 2, column 1: found character '\\t'" in fault(tmp_path, "dataset:\n\tkind: features\n")


def test_a_path_where_a_section_belongs_shows_how_to_write_it(tmp_path: Path) -> None:
    text = "dataset: {name: a, kind: image_folder, path: b, trusted: checked.csv}"
    assert "must be a section with path, columns, such as {path: checked.csv}" in fault(tmp_path, text)


def test_a_folder_is_no_document(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory\. Name a YAML file"):
        load_document(tmp_path)


def test_a_file_without_sections_is_refused(tmp_path: Path) -> None:
    assert "no sections" in fault(tmp_path, "- 1\n")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None])
def test_an_unreadable_file_is_the_users_mistake(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "clean.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"cannot be read|no file"):
        load_document(path)


def test_a_setting_without_equals_sign_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"section\.key=value"):
        load_document(write(tmp_path, YAML), ["purify.method"])


def test_merging_keeps_what_is_not_named() -> None:
    assert merge({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": 4}}) == {"a": {"b": 1, "c": 4}, "d": 3}


def test_the_options_of_unchosen_methods_do_not_change_the_identity(tmp_path: Path) -> None:
    path = write(tmp_path, YAML)
    plain, other, own = (
        load_document(path, settings).purify.identity()
        for settings in ([], ["purify.linear_probe.neighbours=2"], ["purify.knn.neighbours=9"])
    )
    assert plain == other
    assert plain != own


def test_the_document_survives_json(tmp_path: Path) -> None:
    request = load_document(write(tmp_path, YAML))
    assert check_document(request.model_dump(mode="json"), "json") == request


def fields(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        yield f"{path}{name}", field
        below = sub_model(field.annotation)
        if below:
            yield from fields(below, f"{path}{name}.")


def test_every_field_of_the_form_has_a_title_and_a_description() -> None:
    assert [path for path, field in fields(CleanRequest) if not (field.title and field.description)] == []


def test_the_form_has_no_union_that_breaks_it() -> None:
    assert "discriminator" not in str(CleanRequest.model_json_schema())
