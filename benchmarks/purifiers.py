"""Measure how many labels each purifier gets right on the same features, beside cleanlab and scikit-learn.

`python benchmarks/purifiers.py --seeds 3 --out benchmarks/results/purifiers.json`: for each case, number of trusted
rows and seed, the share of right labels over rows whose label nobody told (given, suggested, purified), the calibration
error in 15 bins, the audit's gain and its interval, CPU seconds (audit and baselines included). Cells that the file
holds already are not run again. `--features x.npy --labels x.parquet` takes other features; the table holds the true
labels as `label` (or `clean`), and any further column of labels is a case of its own; benchmarks/simple_features.py
makes some. True labels are opened here only.
"""

import argparse
import json
import os
import resource
import statistics
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import torch
from machine import commit, describe_machine
from peers import PEERS, Case, ask
from plot_purifiers import draw, mean_of

from pipeline.noise import inject
from stages.purify.audit import calibration_error, hash_draw
from stages.purify.config import Method, PurifyConfig
from stages.purify.core import purify
from stages.purify.sample import Sample
from stages.purify.views import Trust

CASES = ("aggre", "sym20", "worse", "asym40", "sym50", "sym80", "sym90u")
KINDS = {"sym": "symmetric", "asym": "asymmetric"}
CELL = ("features", "case", "per_class", "seed", "method")


@dataclass(frozen=True)
class Data:
    """Features, the truth about their rows, and the labels that came with them."""

    name: str
    features: np.ndarray
    table: pd.DataFrame
    neighbours: np.ndarray

    @cached_property
    def truth(self) -> np.ndarray:
        return self.table["label" if "label" in self.table else "clean"].to_numpy(dtype=np.int64, copy=True)

    @cached_property
    def ids(self) -> list[str]:
        return self.table["id"].tolist() if "id" in self.table else [f"r{i}" for i in range(len(self.table))]

    @property
    def classes(self) -> int:
        return int(self.truth.max()) + 1

    def given(self, case: str, seed: int) -> np.ndarray:
        if case in self.table:
            return self.table[case].to_numpy(dtype=np.int64)
        uniform, kind = case.endswith("u"), case.rstrip("u0123456789")
        rate = int(case.rstrip("u").removeprefix(kind)) / 100
        return inject(self.truth, "uniform" if uniform else KINDS[kind], rate, self.classes, seed)

    def trusted(self, per_class: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng(1000 + seed)
        return np.concatenate(
            [rng.permutation(np.flatnonzero(self.truth == c))[:per_class] for c in range(self.classes)]
        )

    def problem(self, given: np.ndarray, trusted: np.ndarray) -> tuple[Sample, Trust]:
        """Write down what a purifier is told: of the truth, that of the trusted rows."""
        truth = torch.from_numpy(self.truth)
        labels, every = torch.full((len(truth),), -1), torch.ones(len(truth), dtype=torch.bool)
        labels[trusted] = truth[trusted]
        sample = Sample(
            torch.from_numpy(self.features), torch.from_numpy(self.neighbours), torch.from_numpy(given), every, every,
            hash_draw(0, "rows", self.ids), self.classes,
        )  # fmt: skip
        return sample, Trust(labels, ~every, torch.ones(len(truth), dtype=torch.float64), self.ids)


def nearest(features: np.ndarray, count: int) -> np.ndarray:
    import faiss

    rows = features.astype(np.float32) - features.astype(np.float32).mean(0)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    found = index.search(rows, count + 1)[1]
    order = np.argsort(found == np.arange(len(rows))[:, None], axis=1, kind="stable")[:, :count]
    return np.take_along_axis(found, order, 1).astype(np.int32)


def load(features: Path, labels: Path) -> Data:
    array = np.load(features, allow_pickle=False)
    return Data(features.stem, array, pd.read_parquet(labels), nearest(array, 50))


def ours(
    data: Data, given: np.ndarray, trusted: np.ndarray, method: str, options: dict[str, Any] | None = None
) -> dict[str, Any]:
    truth = torch.from_numpy(data.truth)
    sample, trust = data.problem(given, trusted)
    busy = time.process_time()
    result = purify(sample, trust, PurifyConfig(method=method, **(options or {})))
    busy, others = time.process_time() - busy, trust.labels < 0
    right, gain = result.rows.suggested == truth, result.gain
    columns = {"given": sample.given, "suggested": result.rows.suggested, "purified": result.rows.purified}
    return {
        **{name: float((column == truth)[others].double().mean()) for name, column in columns.items()},
        "ece": calibration_error(result.rows.top_probs[others, 0], right[others], bins=15),
        "gate": result.gate.verdict, "audit": [gain.gain, gain.low, gain.high], "cpu_seconds": round(busy, 2),
        "baselines": {n: float((said == truth)[others].double().mean())
                      for n, said in zip(result.baselines, result.rows.candidates.T, strict=True)},
    }  # fmt: skip


def theirs(data: Data, given: np.ndarray, trusted: np.ndarray, cases: dict[Any, Case], name: str) -> dict[str, Any]:
    key = (given.tobytes(), trusted.tobytes())
    if key not in cases:
        cases.clear()
        cases[key] = Case(data.features, data.neighbours, given, trusted, data.truth[trusted], data.classes)
    said, busy = ask(name, cases[key])
    others = np.ones(len(given), bool)
    others[trusted] = False
    right = {"given": given, "suggested": said, "purified": said}  # a peer has no gate
    shares = {n: float(np.mean((column == data.truth)[others])) for n, column in right.items()}
    return {**shares, "cpu_seconds": round(busy, 2)}


def run(data: Data, options: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    done, cases = {tuple(row[name] for name in CELL) for row in rows}, {}
    known = [c for c in options.cases if c in data.table or c[:3] in ("sym", "asy")]
    for case, number, seed in [(c, p, s) for c in known for p in options.per_class for s in range(options.seeds)]:
        for method in [*options.methods, *options.peers]:
            cell = dict(zip(CELL, (data.name, case, number, seed, method), strict=True))
            if tuple(cell.values()) in done:
                continue
            given, trusted = data.given(case, seed), data.trusted(number, seed)
            peer = method in PEERS
            found = theirs(data, given, trusted, cases, method) if peer else ours(data, given, trusted, method)
            rows.append({**cell, **found, "commit": commit()[:7]})
            print(json.dumps(rows[-1]), flush=True)
            save(rows, options)


def save(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    if options.out:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        record = {**describe_machine(torch.device("cpu"), options.threads), "peak_mib": peak, "rows": rows}
        whole = options.out.with_suffix(".part")  # a run that is killed in the middle of a write loses nothing
        whole.write_text(json.dumps(record, indent=1), encoding="utf-8")
        whole.replace(options.out)


def table_of(rows: list[dict[str, Any]]) -> str:
    heads = (
        "features",
        "case",
        "trusted per class",
        "method",
        "seeds",
        "given",
        "suggested",
        "± sd",
        "purified",
        "ece",
        "CPU s",
    )
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for key in dict.fromkeys(tuple(row[name] for name in ("features", "case", "per_class", "method")) for row in rows):
        cell = [r for r in rows if (r["features"], r["case"], r["per_class"], r["method"]) == key]
        spread = statistics.stdev(r["suggested"] for r in cell) if len(cell) > 1 else 0.0
        figures = [f"{mean_of(cell, 'given'):.3f}", f"{mean_of(cell, 'suggested'):.3f}", f"{spread:.3f}",
                   f"{mean_of(cell, 'purified'):.3f}",
                   f"{mean_of(cell, 'ece'):.3f}" if all(r.get("ece") is not None for r in cell) else "–",
                   f"{mean_of(cell, 'cpu_seconds'):.1f}"]  # fmt: skip
        lines.append(f"| {' | '.join(map(str, key))} | {len(cell)} | {' | '.join(figures)} |")
    return "\n".join(lines)


def add_data_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--features", type=Path, help="default: the CIFAR-10 features of --data")
    parser.add_argument("--labels", type=Path, help="default: beside the features, with the ending .parquet")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path)


def data_of(options: argparse.Namespace) -> Data:
    features = options.features or options.data / "cifar10-features-patch.npy"
    beside = options.data / "cifar10n-labels.parquet" if options.features is None else features.with_suffix(".parquet")
    labels = options.labels or beside
    for path in (features, labels):
        if not path.exists():
            raise SystemExit(f"there is no {path}; name the folder by --data, or the files by --features and --labels.")
    torch.set_num_threads(options.threads)
    return load(features, labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_options(parser)
    parser.add_argument("--cases", nargs="+", default=list(CASES))
    parser.add_argument("--methods", nargs="*", default=list(get_args(Method)), choices=get_args(Method))
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--per-class", nargs="+", type=int, default=[10, 100])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--plot", type=Path, help="write a PNG of the table")
    options = parser.parse_args()
    old = json.loads(options.out.read_text(encoding="utf-8"))["rows"] if options.out and options.out.exists() else []
    rows = [row for row in old if all(name in row for name in CELL)]
    run(data_of(options), options, rows)
    print(table_of(rows))
    if options.plot:
        draw(rows, options.plot)


if __name__ == "__main__":
    main()
