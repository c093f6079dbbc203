from pathlib import Path

import pytest

from pipeline.keys import artifact_key, canonical_json, digest, file_sha256

VALUE = {"b": [1, 2.5, True, None], "a": {"ü": "ß", "n": -0.1}, "e": 1e-9, "big": 12345678901234567890}


def test_canonical_json_never_changes() -> None:
    """A change here makes every artifact of every store unfindable."""
    assert canonical_json(VALUE) == (
        '{"a":{"n":-0.1,"ü":"ß"},"b":[1,2.5,true,null],"big":12345678901234567890,"e":1e-09}'
    )


def test_keys_never_change() -> None:
    """A change here makes every artifact of every store unfindable."""
    assert digest(VALUE) == "4e6f31e5afceab4444895bf66b5bc3eb"
    assert (
        artifact_key("purify", 3, {"method": "knn", "k": 10}, {"features": "f" * 32})
        == "b4140d458b409c39005c818fc8a52887"
    )


def test_order_of_names_does_not_count() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


def test_whatever_differs_differs_in_the_key() -> None:
    keys = {
        artifact_key("purify", 1, {}, {}),
        artifact_key("retrain", 1, {}, {}),
        artifact_key("purify", 2, {}, {}),
        artifact_key("purify", 1, {"k": 1}, {}),
        artifact_key("purify", 1, {}, {"k": "1"}),
        artifact_key("purify", 1, {"k": 1.5}, {}),
        artifact_key("purify", 1, {"k": "1"}, {}),
    }
    assert len(keys) == 7


def test_nan_has_no_key() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest(float("nan"))


def test_files_are_hashed_by_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert file_sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
