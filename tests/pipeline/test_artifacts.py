from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline.artifacts import FileEntry, Manifest, Ref, artifact_path, list_files
from pipeline.errors import ContractError


def manifest(**fields: object) -> Manifest:
    files = (FileEntry(path="a", bytes=3, sha256="x"), FileEntry(path="b/c", bytes=4, sha256="y"))
    return Manifest.model_validate({"kind": "labels", "key": "k1", "files": files, **fields})


def test_a_ref_tells_content_not_time_or_place() -> None:
    here, there = manifest(created="2026"), manifest(created="2027", environment={"gpu": "x"}, parts="parts/1")
    assert here.ref == there.ref
    assert str(here.ref) == "labels/k1"


def test_a_ref_tells_other_content() -> None:
    other = manifest(files=(FileEntry(path="a", bytes=3, sha256="z"),))
    assert other.ref.key == manifest().ref.key
    assert other.ref != manifest().ref
    assert manifest(inputs={"i": Ref(kind="images", key="1")}).ref != manifest().ref


def test_size_sums_the_files() -> None:
    assert manifest().size() == 7


def test_a_missing_file_is_named_with_those_that_are_there() -> None:
    with pytest.raises(ContractError, match=r"labels/k1 has no file 'd'; it has: a, b/c"):
        manifest().entry("d")


def test_files_are_listed_in_order_without_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "z").write_bytes(b"1")
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "ü").write_bytes(b"22")
    (tmp_path / "manifest.json").write_bytes(b"{}")
    assert [(f.path, f.bytes) for f in list_files(tmp_path)] == [("a b/ü", 2), ("z", 1)]


def test_a_manifest_survives_json() -> None:
    made = manifest(metrics={"gain": 0.25, "counts": {"keep": 3}}, inputs={"i": Ref(kind="images", key="1")})
    assert Manifest.model_validate_json(made.model_dump_json()) == made


def test_unknown_fields_of_a_manifest_are_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        manifest(flavour="strawberry")


def test_places_are_posix_paths() -> None:
    assert artifact_path("labels", "k1") == "labels/k1"
    assert artifact_path("labels", "k1", "b/c") == "labels/k1/b/c"
