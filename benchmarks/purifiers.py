"""Measure how many labels each purifier gets right on label-free CIFAR-10 features, under the noise of PEERS' table.

`python benchmarks/purifiers.py --data ../shared/data --out purifiers.json`: for each case, number of trusted rows and
seed, the share of right labels over rows whose label nobody told (given, suggested, purified), the calibration error
in 15 bins, seconds of all of purify (audit and baselines included), and peak memory. True labels are opened here only.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import torch

from pipeline.noise import inject
from stages.purify.audit import calibration_error, hash_draw
from stages.purify.config import Method, PurifyConfig
from stages.purify.core import purify
from stages.purify.sample import Sample
from stages.purify.views import Trust

CASES = ("aggre", "sym20", "worse", "asym40", "sym50", "sym80")
KINDS = {"sym": "symmetric", "asym": "asymmetric"}


def nearest(features: np.ndarray, count: int) -> np.ndarray:
    import faiss

    rows = features.astype(np.float32) - features.astype(np.float32).mean(0)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    found = index.search(rows, count + 1)[1]
    order = np.argsort(found == np.arange(len(rows))[:, None], axis=1, kind="stable")[:, :count]
    return np.take_along_axis(found, order, 1).astype(np.int32)


def given_labels(case: str, table: pd.DataFrame, truth: np.ndarray, seed: int) -> np.ndarray:
    if case in table:
        return table[case].to_numpy()
    kind, rate = case.rstrip("0123456789"), int(case[-2:]) / 100
    return inject(truth, KINDS[kind], rate, int(truth.max()) + 1, seed)


def trusted_rows(truth: np.ndarray, per_class: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(1000 + seed)
    return np.concatenate([rng.permutation(np.flatnonzero(truth == c))[:per_class] for c in range(truth.max() + 1)])


def measure(sample: Sample, truth: torch.Tensor, trusted: np.ndarray, method: str, ids: list[str]) -> dict[str, Any]:
    labels = torch.full((len(sample),), -1)
    labels[trusted] = truth[trusted]
    none, ones = torch.zeros(len(sample), dtype=torch.bool), torch.ones(len(sample), dtype=torch.float64)
    started, busy = time.perf_counter(), time.process_time()
    result = purify(sample, Trust(labels, none, ones, ids), PurifyConfig(method=method))
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    others = labels < 0
    right = result.rows.suggested == truth
    columns = {"given": sample.given, "suggested": result.rows.suggested, "purified": result.rows.purified}
    return {
        **{name: float((column == truth)[others].double().mean()) for name, column in columns.items()},
        "ece": calibration_error(result.rows.top_probs[others, 0], right[others], bins=15),
        "gate": result.gate.verdict, "seconds": round(seconds, 2), "cpu_seconds": round(busy, 2),
    }  # fmt: skip


def run(data: Path, cases: list[str], per_class: list[int], seeds: int) -> list[dict[str, Any]]:
    table = pd.read_parquet(data / "cifar10n-labels.parquet")
    truth = table["clean"].to_numpy(copy=True)
    features = np.load(data / "cifar10-features-patch.npy", allow_pickle=False)
    neighbours, ids = torch.from_numpy(nearest(features, 50)), table["id"].tolist()
    every = torch.ones(len(truth), dtype=torch.bool)
    cells = [(c, p, s) for c in cases for p in per_class for s in range(seeds)]
    rows = []
    for case, number, seed in cells:
        given = torch.tensor(given_labels(case, table, truth, seed))
        sample = Sample(torch.from_numpy(features), neighbours, given, every, every, hash_draw(0, "rows", ids), 10)
        for method in get_args(Method):
            trusted = trusted_rows(truth, number, seed)
            found = measure(sample, torch.from_numpy(truth), trusted, method, ids)
            rows.append({"case": case, "per_class": number, "seed": seed, "method": method, **found})
            print(json.dumps(rows[-1]), flush=True)
    return rows


def table_of(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| case | trusted per class | method | given | suggested | purified | ece | gates proven | CPU s |",
        "|---" * 9 + "|",
    ]
    for case, number, method in dict.fromkeys((r["case"], r["per_class"], r["method"]) for r in rows):
        cell = [r for r in rows if (r["case"], r["per_class"], r["method"]) == (case, number, method)]
        proven = sum(r["gate"] == "proven" for r in cell)
        means = [statistics.mean(r[name] for r in cell) for name in ("given", "suggested", "purified", "ece")]
        seconds = statistics.mean(r["cpu_seconds"] for r in cell)
        figures = " | ".join(f"{mean:.3f}" for mean in means)
        lines.append(f"| {case} | {number} | {method} | {figures} | {proven} of {len(cell)} | {seconds:.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cases", nargs="+", default=list(CASES))
    parser.add_argument("--per-class", nargs="+", type=int, default=[10, 100])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if not (options.data / "cifar10-features-patch.npy").exists():
        raise SystemExit(f"{options.data} holds no cifar10-features-patch.npy; name the folder by --data.")
    torch.set_num_threads(options.threads)
    rows = run(options.data, options.cases, options.per_class, options.seeds)
    print(table_of(rows))
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    record = {"commit": commit, "hardware": platform.processor() or platform.machine(), "threads": options.threads,
              "peak_mib": peak, "rows": rows}  # fmt: skip
    if options.out:
        options.out.write_text(json.dumps(record, indent=1), encoding="utf-8")
    print(f"peak memory {peak} MiB")


if __name__ == "__main__":
    main()
