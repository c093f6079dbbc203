"""The demo end to end, as a user runs it: what its table claims, and that the second run is cached."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PROGRAM = "import sys; from flows.cli import main; sys.exit(main())"


def run_demo(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", PROGRAM, "demo", str(folder), *options]
    return subprocess.run(command, capture_output=True, text=True, check=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("a place") / "demo"


@pytest.fixture(scope="module")
def first(folder: Path) -> dict[str, Any]:
    return json.loads(run_demo(folder, "--json").stdout)


def test_labels_and_model_are_better_than_before(first: dict[str, Any]) -> None:
    right = first["labels_right"]["right"]
    assert first["labels_right"]["rows"] == 1438 - 100
    assert abs(right["given"] - 0.6) < 0.01
    assert right["suggested"] > 0.9
    assert right["purified"] > 0.9
    assert first["gate"]["verdict"] == "proven"
    assert first["labels_right"]["baselines"]["keep"] == right["given"]
    assert first["test_accuracy"]["rows"] == 359
    assert first["test_accuracy"]["purified"] > first["test_accuracy"]["given"] + 0.01


def test_the_estimates_hold_against_the_truth(first: dict[str, Any]) -> None:
    assert first["noise"]["low"] <= 0.4 <= first["noise"]["high"]
    audit = first["audit"]
    gained = first["labels_right"]["right"]["suggested"] - first["labels_right"]["right"]["given"]
    assert audit["gain_low"] <= gained <= audit["gain_high"]


def test_the_products_are_there_and_the_truth_is_not_among_them(first: dict[str, Any], folder: Path) -> None:
    for name in ("label_table", "report", "model"):
        assert Path(first[name]).stat().st_size > 1000
    assert not list((folder / "puriflow-store").rglob("*truth*"))
    assert "true_label" not in Path(first["report"]).read_text(encoding="utf-8")


@pytest.mark.usefixtures("first")
def test_the_second_run_is_cached_and_shows_the_table(folder: Path) -> None:
    again = json.loads(run_demo(folder, "--json").stdout)
    assert again["cached"]
    assert again["seconds"] < 10
    shown = run_demo(folder)
    assert "suggested labels" in shown.stdout
    assert "All of it was cached" in shown.stdout
    assert "[6/6] report ..." in shown.stderr


@pytest.mark.usefixtures("first")
def test_the_demos_document_is_what_ran(folder: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, "plan", str(folder / "clean.yaml"), "--json"]
    plan = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert {stage["state"] for stage in plan["stages"]} == {"cached"}
    assert (plan["seconds"], plan["bytes"]) == (0, 0)
