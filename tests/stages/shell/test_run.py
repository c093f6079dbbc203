import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import DiskFullError, EndedWithoutCheckpointError, PuriflowError, ResourceError
from pipeline.progress import read_progress
from stages.shell.translate import translate

PROGRAM = Path(__file__).with_name("tiny_stage.py")


def error_of(stage) -> dict:
    return json.loads((stage.work / "error.json").read_text())


def test_a_request_becomes_an_artifact(stage) -> None:
    tiny = stage(seed=3)
    code, out, err = tiny.run()
    assert (code, err) == (0, "")
    assert json.loads(out)["artifact"] == f"tiny/{tiny.key}"
    manifest = tiny.artifact().manifest
    assert [f.path for f in manifest.files] == [f"parts/{n}.bin" for n in range(5)]
    assert manifest.config == {"seed": 3}
    assert manifest.metrics["resumed_at"] == 0
    assert manifest.metrics["seconds"] >= 0
    assert manifest.inputs["shard"].kind == "shards"
    assert tiny.store.get(manifest.inputs["shard"]).path("data.bin").stat().st_size == 64 * 500
    assert manifest.stage == "tiny"
    assert manifest.versions["python"].count(".") == 2
    assert manifest.created
    assert not (tiny.work / "error.json").exists()


def test_the_same_request_gives_the_same_files_and_another_seed_others(stage) -> None:
    one, again, other = stage(folder="1", seed=1), stage(folder="2", seed=1), stage(folder="3", seed=2)
    assert [t.run()[0] for t in (one, again, other)] == [0, 0, 0]
    assert one.files() == again.files() != other.files()


def test_the_second_time_it_is_there_already(stage) -> None:
    tiny = stage()
    tiny.run()
    made = tiny.artifact().manifest
    (tiny.folder / f"wörk {tiny.attempts + 1}").mkdir()
    (tiny.folder / f"wörk {tiny.attempts + 1}" / "error.json").write_text("{}")  # of an earlier attempt
    code, out, _ = tiny.run()
    assert not (tiny.work / "error.json").exists()
    assert code == 0
    assert json.loads(out)["artifact"] == f"tiny/{tiny.key}"
    assert tiny.artifact().manifest == made
    assert read_progress(tiny.work) == ([], 0)


def test_progress_can_be_read_while_it_works(stage) -> None:
    tiny = stage(steps=200, pause=0.02)
    process = tiny.start()
    tiny.wait_for_step(5)
    assert process.poll() is None
    lines, _ = read_progress(tiny.work)
    assert (lines[-1].phase, lines[-1].total, lines[-1].unit) == ("count", 200, "steps")
    process.kill()
    process.communicate()


def test_nothing_stays_behind_but_the_artifacts(stage) -> None:
    tiny = stage(checkpoint_seconds=0.0001)
    assert tiny.run()[0] == 0
    assert [tiny.store.children(area) for area in (".staging", ".locks", "checkpoints")] == [[], [], []]


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"sed": 1}, "request for tiny does not fit: sed: Extra inputs are not permitted."),
        ({"seed": -1}, "request for tiny does not fit: seed: Input should be greater than or equal to 0."),
    ],
)
def test_a_wrong_config_is_the_users_mistake(stage, config: dict, text: str) -> None:
    tiny = stage(**config)
    code, out, err = tiny.run()
    assert code == 2
    assert out == ""
    assert text in err
    assert "Traceback" not in err
    assert error_of(tiny) == {"code": "config", "message": text, "remedy": "Let `puriflow` write it.", "exit_code": 2}
    assert tiny.artifact() is None


@pytest.mark.parametrize("arguments", [[], ["no such file.json"], ["a", "b"]])
def test_a_program_called_wrongly_says_so(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, PROGRAM, *arguments], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("fault", "code", "kind", "text"),
    [
        ("memory", 2, "resource", "out of memory: Unable to allocate 3.00 TiB for an array. Lower batch_size"),
        ("disk", 2, "disk_full", "no space left on the disk (features.npy"),
        ("user", 2, "data", "row 7 is broken. Mend it."),
        ("bug", 1, "internal", "ZeroDivisionError: oops"),
        ("exit", 1, "internal", "SystemExit: 0"),
    ],
)
def test_a_failing_stage_tells_the_person_and_the_parent(stage, fault: str, code: int, kind: str, text: str) -> None:
    tiny = stage(fault=fault)
    got, _, err = tiny.run()
    assert got == code
    assert text in err
    assert ("Traceback" in err) == (code == 1)  # only our own faults show where
    assert (error_of(tiny)["code"], error_of(tiny)["exit_code"]) == (kind, code)
    assert tiny.artifact() is None
    assert tiny.store.children(".staging") == tiny.store.children(".locks") == []


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), ResourceError),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore"), ResourceError),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."), ResourceError),
        (OSError(28, "No space left on device"), DiskFullError),
        (OSError(122, "Disk quota exceeded"), DiskFullError),
        (OSError("262144 requested and 131072 written"), DiskFullError),
        (RuntimeError("I/O error: No space left on device (os error 28)"), DiskFullError),
        (KeyboardInterrupt(), EndedWithoutCheckpointError),
        (ValueError("shapes do not fit"), PuriflowError),
        (OSError(5, "Input/output error"), PuriflowError),
    ],
)
def test_what_libraries_raise_is_named_in_our_words(error: BaseException, kind: type[PuriflowError]) -> None:
    ours = translate(error)
    assert type(ours) is kind
    assert "\n" not in ours.message
    assert ours.remedy or kind is EndedWithoutCheckpointError


def test_an_unreachable_store_is_a_clear_error(stage, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    tiny = stage(url=str(tmp_path / "file" / "store"))
    code, _, err = tiny.run()
    assert code == 2
    assert "file/store failed: Not a directory" in err
    assert "Traceback" not in err


def test_workers_of_a_stage_do_not_outlive_it(stage) -> None:
    tiny = stage(fault="child")
    code, out, _ = tiny.run()
    assert code == 0
    with pytest.raises(ProcessLookupError):
        os.kill(int(out.splitlines()[0]), signal.SIG_DFL)


def test_a_stage_whose_reader_went_away_still_publishes(stage) -> None:
    tiny = stage(pause=0.01)
    process = tiny.start()
    process.stdout.close()
    process.stderr.close()
    assert process.wait(30) == 0
    assert tiny.artifact() is not None
