"""Simulate review: which way to pick rows mends most labels for the same number of looks.

`python benchmarks/review.py --data ../shared/data --out benchmarks/results/review.json`: CIFAR-10N, human labels with
40 % wrong, `--rows` of its rows on weak label-free features, 10 trusted rows a class to begin with. In each round 100
rows are looked at (a quarter of them drawn evenly, except by `random`, where all are), their true labels become
trusted, and purify runs again. Shown: the share of right purified labels over all rows, and over those that nobody
looked at; how many looks mended a label. True labels are opened here only.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import torch
from purifiers import nearest, trusted_rows

from stages.purify.audit import hash_draw
from stages.purify.config import PurifyConfig
from stages.purify.core import Purified, purify
from stages.purify.sample import Sample
from stages.purify.views import Trust
from stages.review.config import Method, ReviewConfig
from stages.review.core import pick
from stages.review.pool import Pool, disagreement_of, places_in_pool

CLASSES = 10
NEIGHBOURS = 50


def pool_of(result: Purified, given: np.ndarray, trusted: np.ndarray, near: tuple[np.ndarray, np.ndarray]) -> Pool:
    """Lay out what produce reads from the artifacts, from what purify returned."""
    rows = np.flatnonzero(trusted < 0)
    indices, similarity = near
    suggested = result.rows.suggested.numpy()
    answers = np.stack([given, suggested, *result.rows.candidates.numpy().T], axis=1)
    return Pool(
        rows=rows, given=given[rows], suggested=suggested[rows],
        wrong=1 - result.rows.confidence.double().numpy()[rows],
        disagreement=disagreement_of(answers[rows]), density=similarity[rows].mean(axis=1).clip(0, 1),
        near=places_in_pool(indices[rows], rows, len(given)),
        trusted=np.bincount(trusted[trusted >= 0], minlength=CLASSES),
    )  # fmt: skip


def neighbours_of(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    indices = nearest(features, NEIGHBOURS)
    unit = features - features.mean(0)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    return indices, np.stack([(unit * unit[indices[:, k]]).sum(axis=1) for k in range(10)], axis=1)


def simulate(data: tuple[np.ndarray, ...], method: Method, seed: int, rounds: int) -> list[Any]:
    features, truth, given, indices, similarity = data
    ids = [f"row {i}" for i in range(len(truth))]
    every = torch.ones(len(truth), dtype=torch.bool)
    sample = Sample(torch.from_numpy(features), torch.from_numpy(indices), torch.from_numpy(given), every, every,
                    hash_draw(0, "rows", ids), CLASSES)  # fmt: skip
    trusted = np.full(len(truth), -1)
    picked = np.zeros(len(truth), bool)
    first = trusted_rows(truth, 10, seed)
    trusted[first] = truth[first]
    config = PurifyConfig(method="linear_probe")
    found, mended, looks = [], 0, 0
    for number in range(rounds + 1):
        trust = Trust(torch.from_numpy(trusted), torch.from_numpy(picked), torch.ones(len(truth)).double(), ids)
        result = purify(sample, trust, config)
        right = result.rows.purified.numpy() == truth
        found.append({"method": method, "seed": seed, "looks": looks, "right": float(right.mean()),
                      "others": float(right[trusted < 0].mean()), "mended": mended,
                      "gate": result.gate.verdict})  # fmt: skip
        print(json.dumps(found[-1]), flush=True)
        if number == rounds:
            break
        pool = pool_of(result, given, trusted, (indices, similarity))
        chosen = pick(pool, ReviewConfig(method=method, rows=100, seed=seed * 100 + number))
        rows = pool.rows[chosen.places]
        mended += int((~right[rows]).sum())
        looks += len(rows)
        trusted[rows] = truth[rows]
        picked[rows[chosen.drawn == 0]] = True
    return found


def table_of(rows: list[dict[str, Any]]) -> str:
    last = max(r["looks"] for r in rows)
    lines = [
        "| method | looks | labels right | among rows nobody looked at | labels mended by looking |",
        "|---" * 5 + "|",
    ]
    for method in dict.fromkeys(r["method"] for r in rows):
        for looks in sorted({r["looks"] for r in rows} & {0, 100, last}):
            cell = [r for r in rows if (r["method"], r["looks"]) == (method, looks)]
            right, others = ([100 * r[name] for r in cell] for name in ("right", "others"))
            spread = f" ± {statistics.stdev(right):.2f}" if len(right) > 1 else ""
            mended = statistics.mean(r["mended"] for r in cell)
            lines.append(
                f"| `{method}` | {looks} | {statistics.mean(right):.2f} %{spread} | {statistics.mean(others):.2f} % "
                f"| {mended:.0f} |"
            )
    return "\n".join(lines)


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5.6, 3.6))
    for method in dict.fromkeys(r["method"] for r in rows):
        looks = sorted({r["looks"] for r in rows if r["method"] == method})
        means = [
            100 * statistics.mean(r["right"] for r in rows if (r["method"], r["looks"]) == (method, n)) for n in looks
        ]
        axes.plot(looks, means, marker="o", label=method)
    axes.set(xlabel="rows looked at", ylabel="purified labels right, %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--methods", nargs="+", default=list(get_args(Method)), choices=list(get_args(Method)))
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--noise", default="worse", help="a column of cifar10n-labels")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--plot", type=Path, help="an .svg or .png to draw")
    options = parser.parse_args()
    if not (options.data / "cifar10-features-patch.npy").exists():
        raise SystemExit(f"{options.data} holds no cifar10-features-patch.npy; name the folder by --data.")
    torch.set_num_threads(options.threads)
    labels = pd.read_parquet(options.data / "cifar10n-labels.parquet")
    features = np.load(options.data / "cifar10-features-patch.npy", allow_pickle=False)
    rows: list[dict[str, Any]] = []
    for seed in range(options.seeds):
        some = np.sort(np.random.default_rng(seed).permutation(len(labels))[: options.rows])
        mine = features[some].astype(np.float32)
        columns = (labels[name].to_numpy()[some].astype(np.int64) for name in ("clean", options.noise))
        data = (mine, *columns, *neighbours_of(mine))
        for method in options.methods:
            rows += simulate(data, method, seed, options.rounds)
    print(table_of(rows))
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    record = {"commit": commit, "hardware": platform.processor() or platform.machine(), "threads": options.threads,
              "noise": options.noise, "rows_of_data": options.rows, "rows": rows}  # fmt: skip
    if options.out:
        options.out.write_text(json.dumps(record, indent=1), encoding="utf-8")
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
