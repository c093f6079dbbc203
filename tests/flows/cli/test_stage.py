"""`puriflow stage`: the stage's exit code, output and signals are passed on."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from flows.cli import main
from flows.cli.stage import run


@pytest.fixture(autouse=True)
def _handlers_as_before():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("code", [0, 2, 75])
def test_exit_codes_are_passed_on(code: int) -> None:
    assert run([sys.executable, "-c", f"raise SystemExit({code})"]) == code


def test_a_killed_stage_ends_as_in_a_shell() -> None:
    assert run([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]) == 137


def test_a_signal_reaches_the_stage() -> None:
    program = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(75)); time.sleep(30)"
    threading.Thread(target=lambda: (time.sleep(0.7), os.kill(os.getpid(), signal.SIGTERM)), daemon=True).start()
    assert run([sys.executable, "-c", program]) == 75


def test_an_unknown_stage_and_a_missing_request_are_mistakes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stage", "purfy", str(tmp_path / "r.json")]) == 2
    assert "Choose one of: ingest, represent, embed, purify, retrain, report" in capsys.readouterr().err
    assert main(["stage", "purify", str(tmp_path / "r.json"), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "config"


def test_a_failing_stage_says_why_as_json(tmp_path: Path) -> None:
    request = {"stage": "purify", "kind": "labels", "key": "k", "config": {"metod": 1}, "store": str(tmp_path / "s")}
    path = tmp_path / "request.json"
    path.write_text(json.dumps({**request, "work": str(tmp_path)}))
    program = "import sys; from flows.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "stage", "purify", str(path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["exit_code"] == 2
    assert "metod" in done.stderr
