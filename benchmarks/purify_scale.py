"""Measure time and memory of purify by the number of rows.

`python benchmarks/purify_scale.py --rows 10000 100000 1000000`. Features are random with class structure (float16,
`--width` numbers, 10 classes, 20 % wrong labels, 1,000 trusted rows). The neighbours of a row are drawn from its class,
four in five, as their search belongs to embed. Each cell runs in a process of its own: CPU seconds of purify (audit and
baselines included), the process's peak memory and what of it came on top of the data, labels right.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from machine import describe_machine

from pipeline.noise import inject
from stages.purify.audit import hash_draw
from stages.purify.config import Method, PurifyConfig
from stages.purify.core import purify
from stages.purify.sample import Sample
from stages.purify.views import Trust

CLASSES, TRUSTED, NEIGHBOURS = 10, 1000, 50


def problem(rows: int, width: int) -> tuple[Sample, Trust, torch.Tensor]:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, CLASSES, rows)
    centres, features = rng.normal(size=(CLASSES, width)), np.empty((rows, width), np.float16)
    for start in range(0, rows, 16_384):
        part = truth[start : start + 16_384]
        features[start : start + 16_384] = 0.1 * centres[part] + rng.normal(size=(len(part), width))
    order, counts = np.argsort(truth, kind="stable"), np.bincount(truth, minlength=CLASSES)
    begins = np.concatenate([[0], np.cumsum(counts)[:-1]])
    near = np.empty((rows, NEIGHBOURS), np.int32)
    for column in range(NEIGHBOURS):
        kin = order[begins[truth] + (rng.random(rows) * counts[truth]).astype(np.int64)]
        near[:, column] = np.where(rng.random(rows) < 0.8, kin, rng.integers(0, rows, rows))
    given, labels = torch.from_numpy(inject(truth, "symmetric", 0.2, CLASSES, 0)), torch.full((rows,), -1)
    labels[:TRUSTED] = torch.from_numpy(truth[:TRUSTED])
    every, ids = torch.ones(rows, dtype=torch.bool), [f"r{i}" for i in range(rows)]
    sample = Sample(
        torch.from_numpy(features), torch.from_numpy(near), given, every, every, hash_draw(0, "rows", ids), CLASSES
    )
    return sample, Trust(labels, ~every, torch.ones(rows, dtype=torch.float64), ids), torch.from_numpy(truth)


def peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def measure(rows: int, width: int, method: str) -> dict[str, Any]:
    sample, trust, truth = problem(rows, width)
    before, busy, started = peak_mib(), time.process_time(), time.perf_counter()
    result = purify(sample, trust, PurifyConfig(method=method))
    busy, seconds = time.process_time() - busy, time.perf_counter() - started
    others = trust.labels < 0
    right = [float((labels == truth)[others].double().mean()) for labels in (sample.given, result.rows.suggested)]
    return {
        "rows": rows, "width": width, "method": method, "cpu_seconds": round(busy, 1), "seconds": round(seconds, 1),
        "peak_mib": peak_mib(), "beyond_data_mib": peak_mib() - before, "given": right[0], "suggested": right[1],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--methods", nargs="+", default=["linear_probe"], choices=get_args(Method))
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.one:
        print(json.dumps(measure(options.rows[0], options.width, options.methods[0])))
        return
    found = []
    for rows, method in [(r, m) for r in options.rows for m in options.methods]:
        told = ["--rows", rows, "--methods", method, "--width", options.width, "--threads", options.threads, "--one"]
        made = subprocess.run([sys.executable, __file__, *map(str, told)], capture_output=True, text=True, check=True)
        found.append(json.loads(made.stdout))
        print(json.dumps(found[-1]), flush=True)
    if options.out:
        record = {**describe_machine(torch.device("cpu"), options.threads), "rows": found}
        options.out.write_text(json.dumps(record, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
