"""Purify CIFAR-10 labels beforehand, on any machine: one file for each noise, small enough to carry.

`python benchmarks/gpu/labels.py --features gpu-results/cifar10-features.npy` (what cifar.py left; or the weak features)
writes CASE.npz for sym20, sym50, sym80, sym90 (wrong labels of other classes), asym40 and worse (CIFAR-10N): given and
purified labels of the 50,000 training images, which of them were trusted (10 a class), what the label table tells of
their noise, and which share of each is right.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))
from purifiers import Data, nearest

from stages.purify.config import PurifyConfig
from stages.purify.core import purify

CASES = ("sym20", "sym50", "sym80", "sym90", "asym40", "worse")


def purified(data: Data, given: np.ndarray, trusted: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
    """Return purified labels, and which share of given and purified ones is wrong as the label table tells."""
    sample, trust = data.problem(given, trusted)
    rows = purify(sample, trust, PurifyConfig(method="fusion")).rows
    told = {"given": rows.given_confidence, "purified": rows.confidence}
    return rows.purified.numpy(), {name: 1 - float(sure.double().nanmean()) for name, sure in told.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--features", type=Path, help="default: the weak features of --data")
    parser.add_argument("--to", type=Path, default=Path("gpu-carry/labels"))
    parser.add_argument("--cases", nargs="+", default=list(CASES))
    parser.add_argument("--rows", type=int, default=50_000, help="fewer for a rehearsal")
    options = parser.parse_args()
    path = options.features or options.data / "cifar10-features-patch.npy"
    features = np.load(path)[:50_000][: options.rows]
    table = pd.read_parquet(options.data / "cifar10n-labels.parquet").iloc[: options.rows]
    data = Data(path.stem, features, table, nearest(features, 50))
    options.to.mkdir(parents=True, exist_ok=True)
    for case in options.cases:
        given, trusted = data.given(case, 0), data.trusted(10, 0)
        clean, noise = purified(data, given, trusted)
        right = {name: round(float((x == data.truth).mean()), 4) for name, x in (("given", given), ("purified", clean))}
        np.savez_compressed(
            options.to / f"{case}.npz", given=given.astype(np.int8), purified=clean.astype(np.int8), trusted=trusted,
            noise=json.dumps(noise), right=json.dumps(right),
        )  # fmt: skip
        print(case, right, noise, flush=True)


if __name__ == "__main__":
    main()
