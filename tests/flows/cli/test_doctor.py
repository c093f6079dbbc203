"""`puriflow doctor`: what it finds, and that a machine without torch gets an answer too."""

import json
import subprocess
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from flows import doctor
from flows.cli import main


@pytest.fixture
def torch_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(program: list[str], **_: object) -> "subprocess.CompletedProcess[str]":
        return subprocess.CompletedProcess(program, 0, stdout="2.9.0\nH200\n", stderr="")

    monkeypatch.setattr(doctor.subprocess, "run", answer)


@pytest.mark.usefixtures("torch_answers")
def test_every_declared_package_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--store", str(tmp_path / "store"), "--json"]) == 0
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    declared = [Requirement(text) for text in metadata.requires("puriflow") or []]
    assert {r.name for r in declared if r.marker is None} <= set(checks)
    assert checks["torch runs"]["found"] == "2.9.0 with H200"
    assert checks["store"]["state"] == "ok"
    assert not (tmp_path / "store").exists()


def test_a_version_that_does_not_fit_comes_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.metadata, "version", lambda _: "0.152.0")
    check = doctor.check_package(Requirement("fastapi>=0.139,<0.151"))
    assert (check.state, check.found) == ("fail", "0.152.0 does not fit")
    assert check.remedy == "pip install 'fastapi<0.151,>=0.139'"


def test_a_missing_package_is_a_fault_and_missing_faiss_is_not() -> None:
    assert doctor.check_package(Requirement("no-such-package>=1")).state == "fail"
    assert doctor.check_package(Requirement("faiss-no-such>=1")).state == "warn"


def test_a_machine_without_torch_gets_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PROBE", "raise ModuleNotFoundError(\"No module named 'torch'\")")
    check = doctor.check_torch()
    assert check.state == "fail"
    assert "No module named 'torch'" in check.found


@pytest.mark.usefixtures("torch_answers")
def test_a_store_that_cannot_be_written_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert main(["doctor", "--store", str(blocked)]) == 2
    shown = capsys.readouterr().out
    assert "fail store" in shown
    assert "fault(s)" in shown


def test_a_nearly_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, state in ((1e8, "fail"), (1e9, "warn"), (1e12, "ok")):
        monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _, free=free: type("Usage", (), {"free": free}))
        assert doctor.check_disk(tmp_path).state == state
