"""Several processes as one stage: they agree, one of them speaks, and none is left behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import InterruptedRunError, RankLostError, TerminatedError
from stages.shell.ranks import ALONE, ranks_from_environment
from stages.shell.translate import translate

WORDS = """
import json, os, sys
from stages.shell.ranks import ranks_from_environment
ranks = ranks_from_environment()
ranks.join("cpu")
print(json.dumps({
    "any": [ranks.any(ranks.rank == 1), ranks.any(False)], "mean": ranks.mean([ranks.rank, 5.0]),
    "tell": ranks.tell({"ä": [ranks.rank, None]}), "share": ranks.share([0, 1, 2, 3, 4]), "main": ranks.main,
    "safe": sys.flags.safe_path,
}), file=open(f"{ranks.rank}.json", "w"), flush=True)
ranks.wait()
os._exit(0)  # as the shell ends: threads of gloo abort a process that leaves them behind
"""
GONE = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:538] Connection closed by peer [127.0.0.1]:1\nmore"


def ranks_of(launcher: int) -> list[int]:
    """List the processes that a launcher started."""
    return [int(n) for n in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()]


def works(process: int) -> bool:
    """Tell whether a process is more than the zombie of one that has ended."""
    command = Path(f"/proc/{process}/cmdline")
    return command.exists() and bool(command.read_bytes())


def error_of(stage) -> dict:
    return json.loads((stage.work / "error.json").read_text())


def test_alone_the_words_are_free_and_torch_stays_out() -> None:
    program = "import sys; from stages.shell.ranks import ALONE; ALONE.join('auto'); ALONE.wait()"
    program += "; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
    assert (ALONE.any(True), ALONE.any(False), ALONE.tell("x"), ALONE.mean([3.0])) == (True, False, "x", [3.0])
    assert ALONE.share([1, 2]) == [1, 2]


def test_what_a_cluster_calls_world_size_is_not_torchruns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert ranks_from_environment().world == 1


def test_a_lost_process_is_told_as_such() -> None:
    error = translate(RuntimeError(GONE))
    assert isinstance(error, RankLostError)
    assert str(error).startswith("another process of this run was killed or failed: [/pytorch")


def test_two_processes_agree(tmp_path: Path) -> None:
    (tmp_path / "words.py").write_text(WORDS)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "words.py"]
    done = subprocess.run(
        launcher, cwd=tmp_path, env={**os.environ, "PYTHONSAFEPATH": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == {
        "any": [True, False], "mean": [0.5, 5.0], "tell": {"ä": [0, None]}, "share": [0, 2, 4], "main": True,
        "safe": True,
    }  # fmt: skip
    assert second == first | {"share": [1, 3], "main": False}


@pytest.mark.slow
def test_two_processes_make_one_artifact_and_look_it_up_the_second_time(stage) -> None:
    tiny, alone = stage(steps=5), stage(folder="alone", steps=5)
    code, out, err = tiny.run(2)
    assert code == 0, err
    assert alone.run()[0] == 0
    assert tiny.files() == alone.files()
    assert [json.loads(line)["artifact"] for line in out.splitlines()] == [f"tiny/{tiny.key}"]
    assert sorted(p.name for p in tiny.work.iterdir()) == ["progress.jsonl", "request.json"]
    assert tiny.run(2)[0] == 0


@pytest.mark.slow
def test_asked_to_stop_all_stop_at_the_same_step_and_one_process_can_go_on(stage) -> None:
    tiny = stage(steps=2000, pause=0.01)
    launcher = tiny.start(2)
    tiny.wait_for_step(5, seconds=90)
    workers = ranks_of(launcher.pid)
    os.kill(workers[1], signal.SIGTERM)  # only one hears of it
    launcher.communicate(timeout=60)
    assert error_of(tiny)["code"] == InterruptedRunError.code
    assert len(tiny.store.children(f"checkpoints/{tiny.key}")) == 1
    assert not any(works(worker) for worker in workers)
    tiny.config |= {"pause": 0, "steps": 300}
    assert tiny.run()[0] == 0
    assert tiny.artifact().metrics["resumed_at"] >= 5


@pytest.mark.slow
def test_the_error_of_whichever_process_failed_first_is_told(stage) -> None:
    tiny = stage(fault="last")
    code, _, err = tiny.run(2)
    assert code == 1
    assert error_of(tiny) == {
        "code": "data",
        "message": "the last process failed.",
        "remedy": "Mend it.",
        "exit_code": 2,
    }
    assert "error: the last process failed. Mend it." in err


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_others_and_says_so(stage, victim: int) -> None:
    tiny = stage(steps=5000, pause=0.01)
    launcher = tiny.start(2)
    tiny.wait_for_step(5, seconds=90)
    workers = ranks_of(launcher.pid)
    os.kill(workers[victim], signal.SIGKILL)
    launcher.communicate(timeout=60)
    assert error_of(tiny)["code"] in (RankLostError.code, TerminatedError.code)
    assert not any(works(worker) for worker in workers)


@pytest.mark.slow
def test_a_killed_launcher_leaves_a_checkpoint_and_no_process(stage) -> None:
    tiny = stage(steps=5000, pause=0.01)
    launcher = tiny.start(2)
    tiny.wait_for_step(5, seconds=90)
    workers = ranks_of(launcher.pid)
    launcher.kill()
    launcher.communicate(timeout=60)
    assert not any(works(worker) for worker in workers)
    assert len(tiny.store.children(f"checkpoints/{tiny.key}")) == 1
