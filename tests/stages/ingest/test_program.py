"""The whole program: exit codes, and whatever kills it, the next run ends with the same files."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifacts import FileEntry, Ref
from pipeline.datasets.config import DatasetConfig
from pipeline.requests import Resources, StageRequest
from pipeline.store.local import FileStore


def request(folder: Path, config: DatasetConfig, store: str = "store", attempt: int = 0) -> Path:
    return StageRequest(
        stage="ingest", kind="datasets", key="thekey", store=str(folder / store), work=str(folder / f"work{attempt}"),
        config=config.model_dump(mode="json"), resources=Resources(workers=2),
    ).save(folder / f"{store}-{attempt}.json")  # fmt: skip


def start(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-m", "stages.ingest", str(path)]
    return subprocess.Popen(
        command, cwd=path.parent, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, errors = process.communicate(timeout=120)
    return process.returncode, out, errors


def contents(folder: Path, store: str) -> dict[str, tuple[FileEntry, ...]]:
    return {str(a.ref): a.manifest.files for a in FileStore(folder / store).artifacts()}


def session_members(leader: int) -> list[int]:
    members = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            members.append(int(entry.parent.name))
    return members


def test_the_program_ends_with_what_it_published(desk: Any, tmp_path: Path) -> None:
    desk.pictures(["c/1.png", "c/2.png"])
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/__init__.py").write_text("raise SystemExit(9)")
    code, out, errors = finish(start(request(tmp_path, desk.config("image_folder", path="."))))
    assert (code, errors) == (0, "")
    assert json.loads(out)["artifact"] == "datasets/thekey"
    manifest = FileStore(tmp_path / "store").get(Ref(kind="datasets", key="thekey")).manifest
    assert sorted(manifest.inputs) == ["annotations", "images"]


def test_a_users_mistake_is_one_message_and_exit_code_2(desk: Any, tmp_path: Path) -> None:
    desk.csv("rows.csv", ["image", "label"], [])
    made = request(tmp_path, desk.config("table", path="rows.csv", columns={"given_label": "lable"}))
    code, _, errors = finish(start(made))
    assert code == 2
    assert errors.count("\n") == 1
    assert "Did you mean 'label'?" in errors
    assert json.loads((tmp_path / "work0/error.json").read_text())["code"] == "data"


def test_two_runs_at_once_end_with_one_result(desk: Any, tmp_path: Path) -> None:
    desk.pictures([f"c/{i}.png" for i in range(30)])
    config = desk.config("image_folder", path=".")
    both = [start(request(tmp_path, config, attempt=i)) for i in range(2)]
    results = [finish(process) for process in both]
    assert [code for code, _, _ in results] == [0, 0]
    assert results[0][1] == results[1][1]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_killed_at_any_moment_changes_nothing(desk: Any, tmp_path: Path, how: signal.Signals) -> None:
    desk.pictures([f"c{i % 3}/{i:04d}.png" for i in range(600)])
    config = desk.config("image_folder", path=".")
    began = time.monotonic()
    assert finish(start(request(tmp_path, config, "unbroken")))[0] == 0
    whole, draw = time.monotonic() - began, random.Random(0)
    for attempt in range(8):
        process = start(request(tmp_path, config, "broken", attempt))
        time.sleep(draw.uniform(0.3, 1.1) * whole)
        process.send_signal(how)
        code = finish(process)[0]
        assert code in (0, -how, 128 + how)
        end = time.monotonic() + 10
        while (left := session_members(process.pid)) and time.monotonic() < end:
            time.sleep(0.02)
        assert not left
        assert all(set(found) <= set(contents(tmp_path, "unbroken")) for found in [contents(tmp_path, "broken")])
    assert finish(start(request(tmp_path, config, "broken", 99)))[0] == 0
    assert contents(tmp_path, "broken") == contents(tmp_path, "unbroken")
    rest = [name for area in (".staging", ".locks") for name in os.listdir(tmp_path / "broken" / area)]  # noqa: PTH208
    assert rest == []
