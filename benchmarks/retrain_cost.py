"""Measure what a training step of each method costs against cross_entropy, in processor time.

`python benchmarks/retrain_cost.py --out retrain_cost.json`: small_cnn, 64 pictures of 8 pixels a step, 64 trusted ones;
rounds in which every method takes its turn, the median of each method's ratio to cross_entropy in the same round.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import get_args

import torch
from torch import nn

from stages.networks.encoder import Encoder, EncoderDescription
from stages.networks.heads import build_classifier
from stages.retrain.config import Method, RetrainConfig
from stages.retrain.learner import Batch, Learner, Setting, build_learner
from stages.training.optimisers import build_optimiser

CLASSES, ROWS, SIDE = 10, 64, 8
DESCRIPTION = EncoderDescription(backbone="small_cnn", width=16, image_size=SIDE, mean=(0.5,) * 3, std=(0.25,) * 3)
VARIANTS = {"mlnt, first order": ("mlnt", {"mlnt": {"second_order": False}})}


def network(number: int) -> nn.Module:
    torch.manual_seed(number)
    return build_classifier(Encoder(DESCRIPTION), CLASSES)


def batch_of() -> Batch:
    generator = torch.Generator().manual_seed(0)
    views = tuple(torch.rand(ROWS, 3, SIDE, SIDE, generator=generator) for _ in range(2))
    targets = torch.eye(CLASSES)[torch.arange(ROWS) % CLASSES]
    trusted = torch.rand(ROWS, 3, SIDE, SIDE, generator=generator), torch.arange(ROWS) % CLASSES
    return Batch(torch.arange(ROWS), views, targets, torch.ones(ROWS), 1, 0.9, trusted)


def seconds_of(learner: Learner, optimiser: torch.optim.Optimizer, batch: Batch) -> float:
    started = time.process_time()
    optimiser.zero_grad()
    learner(batch).backward()
    learner.amend_gradients()
    optimiser.step()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    batch, learners = batch_of(), {}
    chosen = {**{m: (m, {}) for m in get_args(Method) if m != "outside"}, **VARIANTS}
    for name, (method, more) in chosen.items():
        config = RetrainConfig.model_validate({"method": method, **more})
        learner = build_learner(Setting(network, ROWS, CLASSES, 0.4), config)
        learners[name] = learner, build_optimiser(learner, "sgd", 0.01, 5e-4)
        seconds_of(*learners[name], batch)  # what is loaded once
    rounds = [{name: seconds_of(*pair, batch) for name, pair in learners.items()} for _ in range(options.rounds)]
    costs = {n: round(statistics.median(r[n] / r["cross_entropy"] for r in rounds), 2) for n in learners}
    print(json.dumps(costs, indent=1))
    if options.out:
        options.out.write_text(json.dumps({"rounds": options.rounds, "cost": costs}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
