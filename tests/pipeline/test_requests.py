from pathlib import Path

import pytest

from pipeline.artifacts import Ref
from pipeline.errors import ConfigError
from pipeline.requests import Resources, StageRequest, load_request


def request(folder: Path) -> StageRequest:
    return StageRequest(
        stage="purify", kind="labels", key="k", config={"k": 3}, inputs={"images": Ref(kind="images", key="i")},
        store=str(folder / "störe"), work=str(folder / "wörk"), resources=Resources(workers=2),
    )  # fmt: skip


def test_a_request_comes_back_from_its_file(tmp_path: Path) -> None:
    path = request(tmp_path).save(tmp_path / "new folder" / "request.json")
    assert load_request(path) == request(tmp_path)


def test_a_missing_request_file_is_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no.json cannot be read.*No such file"):
        load_request(tmp_path / "no.json")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"stage": "x"}', b"\xff\xfe"])
def test_an_unreadable_request_says_what_does_not_fit(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "request.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"request .* (does not fit|cannot be read)"):
        load_request(path)
