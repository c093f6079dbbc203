"""Measure ingest of CIFAR-10 as a whole process against bare decoding of the same bytes, and its peak memory.

`python benchmarks/ingest.py --data ../shared/data`: bare decoding uses as many processes as ingest has workers, each
already started; ingest is everything from starting Python to the published artifact, in a fresh store. `cpu_ratio`
compares processor time, and holds on a busy machine too.
"""

import argparse
import io
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image

from pipeline.artifacts import Ref
from pipeline.requests import Resources, StageRequest
from pipeline.store import open_store
from stages.ingest.config import DatasetConfig

FILES = ("cifar10-train-0.parquet", "cifar10-train-1.parquet", "cifar10-test.parquet")
FEW = 1 << 12


def decode_all(blobs: list[bytes]) -> float:
    started = time.process_time()
    for blob in blobs:
        Image.open(io.BytesIO(blob)).convert("RGB")
    return time.process_time() - started


def decode_bare(blobs: list[bytes], workers: int) -> dict[str, float]:
    parts = [blobs[i : i + FEW] for i in range(0, len(blobs), FEW)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(decode_all, [blobs[:8]] * workers))
        started = time.perf_counter()
        busy = sum(pool.map(decode_all, parts))
        return {"seconds": round(time.perf_counter() - started, 3), "cpu_seconds": round(busy, 3)}


def request_for(config: DatasetConfig, folder: Path, key: str, hints: dict[str, Ref], workers: int) -> Path:
    request = StageRequest(
        stage="ingest", kind="datasets", key=key, config=config.model_dump(mode="json"), hints=hints,
        store=str(folder / "store"), work=str(folder / f"work-{key}"), resources=Resources(workers=workers),
    )  # fmt: skip
    return request.save(folder / f"{key}.json")


def tree_memory(root: int) -> int:
    """Sum the private memory of a process and all below it, in kB (shared pages count by share)."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rsplit(")", 1)[1].split()
            children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
        except OSError:
            continue
    total, pending = 0, [root]
    while pending:
        process = pending.pop()
        pending += children.get(process, [])
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue
    return total


def run_stage(request: Path) -> dict[str, float]:
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen([sys.executable, "-P", "-m", "stages.ingest", str(request)], stdout=subprocess.DEVNULL)
    peak = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.2):
            peak = max(peak, tree_memory(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    seconds = time.perf_counter() - started
    done.set()
    watcher.join()
    if code:
        raise SystemExit(f"ingest ended with exit code {code}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": round(seconds, 3), "cpu_seconds": round(busy, 3), "peak_mib": round(peak / 1024)}


def measure(data: Path, folder: Path, workers: int, repeats: int) -> dict[str, Any]:
    paths = [data / name for name in FILES]
    config = DatasetConfig.model_validate(
        {"name": "cifar10", "kind": "parquet", "path": [str(p.absolute()) for p in paths],
         "columns": {"sample_id": "id", "given_label": "label"}}
    )  # fmt: skip
    blobs = [row for p in paths for row in pq.read_table(p)["image"].combine_chunks().field("bytes").to_pylist()]
    bare, fresh = [], []
    for number in range(repeats):
        bare.append(decode_bare(blobs, workers))
        shutil.rmtree(folder / "store", ignore_errors=True)
        fresh.append(run_stage(request_for(config, folder, f"fresh{number}", {}, workers)))
    hint = open_store(str(folder / "store")).get(Ref(kind="datasets", key=f"fresh{repeats - 1}")).ref
    again = run_stage(request_for(config, folder, "again", {"previous": hint}, workers))
    return {
        "images": len(blobs), "workers": workers, "bare": bare, "ingest": fresh, "unchanged": again,
        "ratio": ratio(fresh, bare, "seconds"), "cpu_ratio": ratio(fresh, bare, "cpu_seconds"),
    }  # fmt: skip


def ratio(ours: list[dict[str, float]], theirs: list[dict[str, float]], what: str) -> float:
    return round(statistics.median(r[what] for r in ours) / statistics.median(r[what] for r in theirs), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if not all((options.data / name).exists() for name in FILES):
        raise SystemExit(f"{options.data} does not hold {', '.join(FILES)}; name their folder by --data")
    with tempfile.TemporaryDirectory() as folder:
        result = measure(options.data, Path(folder), options.workers, options.repeats)
    print(
        json.dumps({**result, "machine": platform.processor() or platform.machine(), "cpus": os.cpu_count()}, indent=1)
    )


if __name__ == "__main__":
    main()
