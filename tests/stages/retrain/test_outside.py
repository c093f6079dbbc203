"""Trainers of the operator's: what they are given, what comes back, what is refused, and that they end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from pipeline.errors import ConfigError, DataError, TerminatedError
from pipeline.models import open_model
from stages.retrain.config import RetrainConfig
from stages.retrain.trainers import TRAINERS_ENV, defined_trainers
from stages.shell.stop import StopFlag

EXAMPLE = Path(__file__).parents[3] / "docs" / "trainers" / "logistic.py"
OUTSIDE = {"method": "outside", "outside": {"trainer": "mine", "settings": {"C": "0.05"}}}


@pytest.fixture
def define(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Define the trainer `mine`: a program, or some lines of Python."""

    def set_to(program: Path | str) -> None:
        if isinstance(program, str):
            path = tmp_path / "mine.py"
            path.write_text(program, encoding="utf-8")
            program = path
        monkeypatch.setenv(TRAINERS_ENV, json.dumps({"mine": [sys.executable, str(program)]}))

    return set_to


def test_the_example_learns_features_and_its_predictions_are_scored(
    features_toy: Any, retrain: Any, define: Any
) -> None:
    define(EXAMPLE)
    toy = features_toy(validation=True)
    artifact = retrain(toy, labels="both", **OUTSIDE)
    model = open_model(artifact)
    assert model.metrics.test is not None
    assert model.metrics.test.accuracy > 0.95
    assert model.metrics.given is not None
    assert model.description.network == {"trainer": "mine"}
    said = model.predictions()
    assert said.num_rows == 240
    by = np.array(said["split"].to_pylist()) == "test"
    right = np.array(said["predicted_label"].to_pylist())[by] == toy.given[by]
    assert right.mean() == pytest.approx(model.metrics.test.accuracy)
    assert model.description.temperature != 1.0
    with np.load(artifact.path("outside/model.npz")) as kept:
        assert kept["coefficients"].shape == (3, 8)


def test_the_example_learns_pictures_and_broken_ones_are_left_out(pictures_toy: Any, retrain: Any, define: Any) -> None:
    define(EXAMPLE)
    metrics = retrain(pictures_toy, **OUTSIDE).metrics
    assert metrics["test"]["accuracy"] == 1.0
    assert metrics["test"]["rows"] == 19


KEEP = """
import json, shutil, sys
from pathlib import Path
task = Path(sys.argv[1])
shutil.copytree(task.parent, "{target}", dirs_exist_ok=True)
sys.exit(3)
"""


def test_a_task_holds_what_teaches_and_a_trainer_that_fails_is_quoted(
    features_toy: Any, retrain: Any, define: Any, tmp_path: Path
) -> None:
    define(KEEP.format(target=tmp_path / "seen"))
    toy = features_toy(action=["review"] * 100 + ["none"] * 140)
    with pytest.raises(DataError, match="trainer 'mine' ended with code 3"):
        retrain(toy, review_rows="drop", labels="both", **OUTSIDE)
    with pytest.raises(DataError, match="none of 240 rows can teach purified labels"):
        retrain(features_toy(action=["review"] * 240), review_rows="drop", **OUTSIDE)
    seen = tmp_path / "seen"
    task = json.loads((seen / "task.json").read_text(encoding="utf-8"))
    assert task["settings"] == {"C": "0.05"}
    assert task["classes"] == ["a", "b", "c"]
    rows = pq.read_table(seen / "rows.parquet").to_pandas()
    assert len(rows) == len(np.load(seen / "features.npy")) == 240
    assert (rows.loc[rows["split"] == "test", "label"] == -1).all()
    assert ((rows["label"] >= 0) == (rows["weight"] > 0)).all()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "left no predictions.parquet"),
        ("t = pa.table({'sample_id': ['x'], 'probs': [[1.0, 0, 0]]})", "said nothing of 240 of 240 rows"),
        ("t = pa.table({'sample_id': ids, 'probs': [[1.0]] * len(ids)})", r"wrote probs with \[1\] numbers"),
        ("t = pa.table({'sample_id': ids, 'probs': [[1.0, 1.0, 0]] * len(ids)})", "each row must sum to 1"),
        ("t = pa.table({'sample_id': ids, 'probs': [[float('nan')] * 3] * len(ids)})", "each row must sum to 1"),
        ("t = pa.table({'sample_id': ids})", "left no predictions.parquet that can be read"),
    ],
)
def test_predictions_that_are_none_are_refused(
    features_toy: Any, retrain: Any, define: Any, lines: str, message: str
) -> None:
    write = "pq.write_table(t, 'output/predictions.parquet')" if lines else ""
    start = (
        "import pyarrow as pa, pyarrow.parquet as pq\nids = pq.read_table('rows.parquet')['sample_id'].to_pylist()\n"
    )
    define(f"{start}{lines}\n{write}\n")
    with pytest.raises(DataError, match=message):
        retrain(features_toy(), **OUTSIDE)


def test_only_what_the_operator_defined_can_be_named(
    features_toy: Any, retrain: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(TRAINERS_ENV, raising=False)
    with pytest.raises(ConfigError, match="there is no trainer 'mine' on this worker; defined are: none"):
        retrain(features_toy(), **OUTSIDE)
    monkeypatch.setenv(TRAINERS_ENV, json.dumps({"mine": ["/nowhere/program"]}))
    with pytest.raises(ConfigError, match="trainer 'mine' cannot be started: /nowhere/program: No such file"):
        retrain(features_toy(), **OUTSIDE)
    for name in ("python -c", "../evil", "/bin/sh", "Mine"):
        with pytest.raises(ValidationError, match="should match pattern"):
            RetrainConfig(method="outside", outside={"trainer": name})
    with pytest.raises(ValidationError, match=r"retrain\.outside\.trainer is missing"):
        RetrainConfig(method="outside")


def test_trainers_may_stand_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "trainers.json"
    path.write_text('{"a": ["x", "y"]}', encoding="utf-8")
    monkeypatch.setenv(TRAINERS_ENV, str(path))
    assert defined_trainers() == {"a": ["x", "y"]}
    for broken in ("{", '{"a": "x y"}', '{"a": []}', str(tmp_path / "none.json")):
        monkeypatch.setenv(TRAINERS_ENV, broken)
        with pytest.raises(ConfigError, match="is neither JSON such as"):
            defined_trainers()


WAITS = """
import os, sys, time
from pathlib import Path
Path("{place}").write_text(str(os.getpid()))
print('{{"done": 1, "of": 5, "loss": 0.5}}', flush=True)
time.sleep(60)
"""


def is_gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").split(")")[1].split()[0] == "Z"


def test_a_stop_ends_the_trainer_too(features_toy: Any, retrain: Any, define: Any, tmp_path: Path) -> None:
    place, stop = tmp_path / "pid", StopFlag()
    define(WAITS.format(place=place))
    original = time.sleep

    def stop_once_it_runs(seconds: float) -> None:
        if place.exists() and place.read_text(encoding="utf-8"):
            stop.request(signal.SIGTERM)
        original(min(seconds, 0.05))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stages.retrain.trainers.time.sleep", stop_once_it_runs)
        with pytest.raises(TerminatedError, match="stopped by SIGTERM"):
            retrain(features_toy(), stop=stop, **OUTSIDE)
    assert is_gone(int(place.read_text(encoding="utf-8")))


def test_a_killed_stage_takes_its_trainer_along(tmp_path: Path) -> None:
    """A program that starts a trainer as the stage does, and is killed."""
    place = tmp_path / "pid"
    (tmp_path / "mine.py").write_text(WAITS.format(place=place), encoding="utf-8")
    start = (
        "import subprocess, sys, time\nfrom stages.retrain.trainers import die_with_parent\n"
        f"subprocess.Popen([sys.executable, {str(tmp_path / 'mine.py')!r}], preexec_fn=die_with_parent, "
        "start_new_session=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", start]) as process:
        deadline = time.monotonic() + 60
        while not (place.exists() and place.read_text(encoding="utf-8")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
    trainer = int(place.read_text(encoding="utf-8"))
    while not is_gone(trainer) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert is_gone(trainer)
