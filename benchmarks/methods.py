"""Compare the self-supervised methods on scikit-learn's handwritten digits (1,797 of 8 × 8 pixels), as the demo trains.

`python benchmarks/methods.py --seeds 3 --out benchmarks/results/methods.json`: for each method and seed, the share of
digits whose 10 nearest others (cosine of the centred features) vote for the right class, and for half as many, the
share that a ridge classifier on the other half gets right; effective rank; seconds. Labels are read here only, after
the training; they choose nothing. Two rows to compare with: the pixels themselves, and the network untrained.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier
from torch import Tensor

from pipeline.progress import ProgressWriter
from pipeline.requests import StageRequest
from pipeline.store import FileStore
from stages.images.augmentation import Augmentation
from stages.images.cache import ImageCache
from stages.represent.config import VERSIONS, RepresentConfig
from stages.represent.core import effective_rank
from stages.represent.produce import build_network, train
from stages.shell import Context
from stages.shell.checkpoints import Checkpoints
from stages.shell.stop import StopFlag

CPU = torch.device("cpu")
VOTERS = 10
HOW = Augmentation(crop_scale=0.5, rotation=10, shift=0.1, flip=False, colour=0.5, grey=0)


def digits() -> tuple[ImageCache, Tensor]:
    images, labels = load_digits(return_X_y=True)
    pixels = np.repeat((images * 255 / 16).round().astype(np.uint8).reshape(-1, 8, 8, 1), 3, axis=3)
    return ImageCache(pixels, CPU), torch.from_numpy(labels)


def judge(features: Tensor, labels: Tensor) -> dict[str, float]:
    unit = torch.nn.functional.normalize(features - features.mean(dim=0))
    nearest = (unit @ unit.T).fill_diagonal_(-2).topk(VOTERS).indices
    votes = torch.nn.functional.one_hot(labels[nearest], 10).sum(dim=1)
    odd = torch.arange(len(labels)) % 2 == 1
    scaled = (features - features.mean(dim=0)) / features.std(dim=0).clamp(min=1e-6)
    probe = RidgeClassifier(alpha=10.0).fit(scaled[odd].numpy(), labels[odd].numpy())
    return {
        "knn": float((votes.argmax(dim=1) == labels).float().mean()),
        "linear": float(probe.score(scaled[~odd].numpy(), labels[~odd].numpy())),
        "effective_rank": effective_rank(features),
    }


def encode(encoder: torch.nn.Module, cache: ImageCache) -> Tensor:
    with torch.inference_mode():
        return encoder.eval()(cache.batch(torch.arange(len(cache)))).clone()


def learn(config: RepresentConfig, cache: ImageCache, folder: Path) -> torch.nn.Module:
    request = StageRequest(
        stage="represent", kind="encoders", key="k", config={}, store=str(folder / "store"), work=str(folder / "work")
    )
    store, progress = FileStore(folder / "store"), ProgressWriter(request.work_folder)
    context = Context(request, store, progress, StopFlag(), Checkpoints(store, "k", 3600.0))
    network = build_network(config, cache)
    train(config, context, network, cache, CPU)
    progress.close()
    return network.result


def run(methods: list[str], epochs: int, seeds: int) -> list[dict[str, Any]]:
    cache, labels = digits()
    rows = [{"method": "pixels", "seed": 0, **judge(cache.batch(torch.arange(len(cache))).flatten(1), labels)}]
    for seed in range(seeds):
        for method in ["untrained", *methods]:
            config = RepresentConfig.model_validate({
                "method": "simclr" if method == "untrained" else method, "width": 32, "image_size": 8, "seed": seed,
                "epochs": epochs, "batch_size": 128, "optimizer": "adamw", "learning_rate": 0.006, "augmentation": HOW,
            })  # fmt: skip
            started = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                trained = method != "untrained"
                encoder = learn(config, cache, Path(folder)) if trained else build_network(config, cache).encoder
            seconds = round(time.monotonic() - started, 1)
            rows.append({"method": method, "seed": seed, **judge(encode(encoder, cache), labels), "seconds": seconds})
            print(rows[-1], flush=True)
    return rows


def table_of(rows: list[dict[str, Any]]) -> str:
    lines = ["| method | k-NN % | linear probe % | effective rank | seconds |", "|---|---|---|---|---|"]
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        shown = []
        for name, scale, digits_shown in (("knn", 100, 1), ("linear", 100, 1), ("effective_rank", 1, 0)):
            values = [scale * row[name] for row in mine]
            spread = f" ± {statistics.stdev(values):.{digits_shown}f}" if len(values) > 1 else ""
            shown.append(f"{statistics.mean(values):.{digits_shown}f}{spread}")
        seconds = statistics.mean(row.get("seconds", 0) for row in mine)
        lines.append(f"| {method} | {' | '.join(shown)} | {seconds:.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(VERSIONS), choices=list(VERSIONS))
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = run(options.methods, options.epochs, options.seeds)
    print(table_of(rows))
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    record = {"commit": commit, "hardware": platform.processor() or platform.machine(), "threads": options.threads,
              "epochs": options.epochs, "rows": rows}  # fmt: skip
    if options.out:
        options.out.write_text(json.dumps(record, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
