"""What the service costs beside an inline run: the same small dataset both ways, stage by stage.

`python benchmarks/service.py` starts `puriflow up` in a new folder, cleans 60 points by it and by `puriflow clean`,
`--repeats` times with other seeds (everything but ingest is made anew), and once more with nothing left to do.
Seconds of a stage are from the look-up to the artifact, as the record of the run has them.
"""

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.store import open_store
from pipeline.store.runs import newest_run

PURIFLOW = str(Path(sys.executable).with_name("puriflow"))
DATASET = {"name": "points", "kind": "features", "table": ["rows.parquet"], "features": ["features.npy"]}


def write_points(folder: Path) -> None:
    folder.mkdir()
    kinds = [i % 2 for i in range(60)]
    pq.write_table(
        pa.table({"sample_id": [f"r{i}" for i in range(60)], "given_label": kinds, "trusted_label": kinds}),
        folder / "rows.parquet",
    )
    noise = np.random.default_rng(0).normal(size=(60, 4))
    np.save(folder / "features.npy", (noise + np.array(kinds)[:, None] * 6).astype(np.float32))


def document(seed: int) -> dict[str, Any]:
    return {"dataset": DATASET, "retrain": {"enabled": False}, "purify": {"folds": 5}, "seed": seed}


def stage_seconds(store: Path) -> dict[str, float]:
    record = newest_run(open_store(str(store)), "points", "completed")
    assert record is not None
    return {stage: made.seconds for stage, made in record.artifacts.items() if not made.cached}


def inline(folder: Path, seed: int) -> tuple[float, dict[str, float]]:
    path = folder / "data" / "clean.yaml"
    path.write_text(json.dumps(document(seed)), encoding="utf-8")
    began = time.perf_counter()
    command = [PURIFLOW, "clean", str(path), "--store", str(folder / "inline"), "--json"]
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began, stage_seconds(folder / "inline")


@contextmanager
def service(folder: Path) -> Iterator[float]:
    """Run `puriflow up` and name it to Prefect; give the seconds until it was there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        PURIFLOW, "up", "--json", "--port", str(port), "--home", str(folder / "home"), "--store",
        str(folder / "service"), "--data", str(folder / "data"),
    ]  # fmt: skip
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        os.environ["PREFECT_API_URL"] = json.loads(process.stdout.readline())["api"]
        yield time.perf_counter() - began
        process.send_signal(signal.SIGINT)
        process.wait(120)


def served(folder: Path, seed: int) -> tuple[float, dict[str, float]]:
    from prefect.deployments import run_deployment

    began = time.perf_counter()
    run = run_deployment("clean-dataset/quick", parameters=document(seed), timeout=900, poll_interval=0.5)
    assert run.state is not None  # type: ignore[union-attr]
    assert run.state.is_completed(), run.state  # type: ignore[union-attr]
    return time.perf_counter() - began, stage_seconds(folder / "service")


def measure(folder: Path, repeats: int) -> dict[str, Any]:
    write_points(folder / "data")
    with service(folder) as start:
        pairs = [(inline(folder, seed), served(folder, seed)) for seed in range(repeats)]
        again = (inline(folder, repeats - 1)[0], served(folder, repeats - 1)[0])
    more = {
        stage: round(statistics.median(theirs[1][stage] - ours[1][stage] for ours, theirs in pairs[1:]), 1)
        for stage in pairs[-1][1][1]
    }
    return {
        "seconds_until_up": round(start, 1), "seconds_inline": [round(p[0][0], 1) for p in pairs],
        "seconds_service": [round(p[1][0], 1) for p in pairs], "more_by_stage": more,
        "more_a_stage": round(statistics.median(more.values()), 1),
        "seconds_all_cached": {"inline": round(again[0], 1), "service": round(again[1], 1)},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps({**measure(Path(folder), options.repeats), "cpus": len(os.sched_getaffinity(0))}, indent=1))


if __name__ == "__main__":
    main()
