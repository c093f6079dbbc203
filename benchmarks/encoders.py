"""Measure on CIFAR-10 an encoder that is made without a GPU: its cost, and what a linear probe and k-NN make of it.

`python benchmarks/encoders.py --data ../shared/data --out benchmarks/results/encoders.json`: fits on the 50,000
training images, encodes these and the 10,000 test images, and prints test accuracy of a logistic regression and of 20
nearest neighbours (cosine of centred features), both taught by all true training labels, and the seconds. Labels are
read here only, after the fit. `--set atoms=512 --set stride=2` changes options of the method.
"""

import argparse
import io
import json
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from pipeline.progress import ProgressWriter
from pipeline.requests import StageRequest
from pipeline.store import FileStore
from stages.images.cache import ImageCache
from stages.represent.config import RepresentConfig
from stages.represent.core import effective_rank
from stages.represent.patch_encoder import fit_patches
from stages.shell import Context
from stages.shell.checkpoints import Checkpoints
from stages.shell.stop import StopFlag

TRAIN, TEST = ("cifar10-train-0.parquet", "cifar10-train-1.parquet"), ("cifar10-test.parquet",)
CPU = torch.device("cpu")
HOW = {"crop_scale": 0.4, "colour": 0.4, "grey": 0.1}
NEIGHBOURS, CLASSES, BATCH = 20, 10, 256
PULL = 1e-3  # of the probe's weights to zero


def load(folder: Path, names: tuple[str, ...]) -> tuple[np.ndarray, Tensor]:
    tables = [pq.read_table(folder / name, columns=["image", "label"]) for name in names]
    encoded = [row["bytes"] for table in tables for row in table["image"].to_pylist()]
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(one)).convert("RGB")) for one in encoded])
    return pixels, torch.from_numpy(np.concatenate([table["label"].to_numpy() for table in tables])).long()


def surroundings(folder: Path) -> Context:
    request = StageRequest(
        stage="represent", kind="encoders", key="k", config={}, store=str(folder / "store"), work=str(folder / "work")
    )
    store, progress = FileStore(folder / "store"), ProgressWriter(request.work_folder)
    return Context(request, store, progress, StopFlag(), Checkpoints(store, "k", 3600.0))


def encode(encoder: torch.nn.Module, cache: ImageCache, mirror: bool) -> Tensor:
    parts = []
    with torch.inference_mode():
        for rows in torch.split(torch.arange(len(cache)), BATCH):
            images = cache.batch(rows)
            parts.append((encoder(images) + encoder(images.flip(3))) / 2 if mirror else encoder(images))
    return torch.cat(parts).clone()


def probe(taught: Tensor, labels: Tensor, asked: Tensor, truth: Tensor) -> float:
    """Train a logistic regression on standardised features by L-BFGS; return its accuracy."""
    mean, std = taught.mean(dim=0), taught.std(dim=0).clamp(min=1e-6)
    taught, asked = (taught - mean) / std, (asked - mean) / std
    layer = torch.nn.Linear(taught.shape[1], CLASSES)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimiser = torch.optim.LBFGS(layer.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = functional.cross_entropy(layer(taught), labels) + PULL / 2 * layer.weight.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    return float((layer(asked).argmax(dim=1) == truth).float().mean())


def vote(taught: Tensor, labels: Tensor, asked: Tensor, truth: Tensor) -> float:
    mean = taught.mean(dim=0)
    taught, right = functional.normalize(taught - mean), 0
    for some, true in zip(torch.split(asked, 1000), torch.split(truth, 1000), strict=True):
        nearest = (functional.normalize(some - mean) @ taught.T).topk(NEIGHBOURS).indices
        votes = functional.one_hot(labels[nearest], CLASSES).sum(dim=1)
        right += int((votes.argmax(dim=1) == true).sum())
    return right / len(truth)


def run(options: argparse.Namespace) -> dict[str, Any]:
    settings: dict[str, Any] = {"method": "patches", "patches": dict(one.split("=", 1) for one in options.set)}
    config = RepresentConfig.model_validate(settings | {"seed": options.seed, "augmentation": HOW})
    (pixels, labels), (asked, truth) = load(options.data, TRAIN), load(options.data, TEST)
    pixels, labels = pixels[: options.rows], labels[: options.rows]
    train, test = ImageCache(pixels, CPU), ImageCache(asked, CPU)
    started, burned = time.monotonic(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        context = surroundings(Path(folder))
        encoder, told = fit_patches(config, context, train, CPU)
        context.progress.close()
    fitted, fit_burned = time.monotonic(), time.process_time()
    features = encode(encoder.eval(), train, options.mirror)
    encoded, all_burned = time.monotonic(), time.process_time()
    seen = encode(encoder, test, options.mirror)
    return {
        "linear_probe": round(probe(features, labels, seen, truth), 4),
        "knn": round(vote(features, labels, seen, truth), 4),
        "effective_rank": round(effective_rank(features[::25]), 1), "dim": encoder.dim,
        "fit_seconds": round(fitted - started, 1), "encode_seconds": round(encoded - fitted, 1),
        "fit_cpu_seconds": round(fit_burned - burned, 1), "encode_cpu_seconds": round(all_burned - fit_burned, 1),
        "rows": len(train), "told": told, "mirror": options.mirror, "config": config.patches.model_dump(),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE")
    parser.add_argument("--mirror", action="store_true", help="average the features of each image and its mirror image")
    parser.add_argument("--rows", type=int, default=50_000, help="take only so many training images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if not (options.data / TEST[0]).exists():
        parser.error(f"{options.data} holds no CIFAR-10 ({TEST[0]})")
    torch.set_num_threads(options.threads)
    row = run(options)
    print(json.dumps(row, indent=1))
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    record = {"commit": commit, "hardware": platform.processor() or platform.machine(), "threads": options.threads}
    if options.out:
        options.out.write_text(json.dumps(record | row, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
