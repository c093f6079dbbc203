"""Worker processes: answers in order, an image that kills its worker is found, nobody outlives the parent."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stages.ingest import workers as module
from stages.ingest.workers import Question, Workers

MURDEROUS = """
import os, sys
from stages.ingest import worker
def look(data, max_pixels):
    if data == b"murder":
        os._exit(9)
    return 1, 1, ""
worker.look = look
worker.main()
"""


@dataclass(frozen=True)
class Asked:
    question: Question


def processes(parent: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile
            if (folder / "stat").read_text().rsplit(")", 1)[1].split()[1] == str(parent):
                found.append(int(folder.name))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def eventually(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_answers_come_in_order_and_no_worker_is_left(desk: Any) -> None:
    blobs = [desk.picture(i) for i in range(20)]
    others = processes(os.getpid())  # those of earlier tests
    with Workers(2, 10**6, keep=True) as pool:
        batches = [Asked(Question(blobs=blobs[i : i + 3])) for i in range(0, 20, 3)] + [Asked(Question())]
        answers = [answer for _, answer in pool.map(batches)]
        children = set(processes(os.getpid())) - set(others)
    assert [s for a in answers for s in a.sha256] == [hashlib.sha256(b).hexdigest() for b in blobs]
    assert children
    assert not any(alive(pid) for pid in children)


def test_files_are_read_by_the_workers(desk: Any) -> None:
    paths = [*desk.pictures(["a b.png", "ü.png"]), desk.folder / "gone.png"]
    with Workers(1, 10**6, keep=True) as pool:
        answer = pool.examine(Question(paths=[str(p) for p in paths]))
    assert [bytes(d) for d in answer.data] == [desk.picture(0), desk.picture(1), b""]
    assert answer.reason == ["", "", "cannot be read: No such file or directory"]
    assert answer.width == [7, 7, 0]


def test_an_image_that_kills_its_worker_is_quarantined_alone(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-c", MURDEROUS, str(os.getpid())]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    monkeypatch.setattr(module, "start_worker", start)
    blobs = [b"fine", b"fine too", b"murder", b"fine as well"]
    with Workers(1, 10**6, keep=False) as pool:
        answer = pool.examine(Question(blobs=blobs))
    assert answer.reason == ["", "", "decoding it killed the decoder", ""]
    assert answer.sha256 == [hashlib.sha256(b).hexdigest() for b in blobs]


def test_a_worker_starts_with_pillow_alone() -> None:
    code = (
        "import sys, stages.ingest.worker as w; print([m for m in ('numpy', 'pyarrow', 'torch') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


PARENT = """
import sys, time
from stages.ingest.workers import Question, Workers
with Workers(2, 10**9, keep=False) as pool:
    pool.examine(Question(blobs=[b"x"]))
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_die_with_their_parent(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-P", "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        children = processes(parent.pid)
        assert children
        parent.send_signal(number)
        parent.wait()
    assert eventually(lambda: not any(alive(pid) for pid in children))
