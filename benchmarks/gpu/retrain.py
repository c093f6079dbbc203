"""Train one cell of the CIFAR-10 table on a lent GPU: a method, on given or on purified labels of one noise.

`python3 benchmarks/gpu/retrain.py --method elr_plus --case sym50 --labels purified --out OUT` measures the rate, plans
as many epochs as fit into --minutes, trains a ResNet-18 from random weights (or from the encoder that cifar.py left in
--state), and writes OUT/METHOD-CASE-LABELS-SEED.json: test accuracy of the last epoch (what we report), the mean of the
last ten, the best (chosen on test rows, as the papers report), epochs, rate, and published figures. Nothing else is
kept: a cell that is cut off is run again. `--rehearse`: a tiny network on a CPU.
"""

import argparse
import copy
import json
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))
from machine import describe_machine

from pipeline.errors import InterruptedRunError
from pipeline.progress import ProgressWriter
from pipeline.requests import Resources, StageRequest
from pipeline.store import FileStore
from stages.images.cache import ImageCache
from stages.networks.encoder import Encoder, EncoderDescription, load_encoder
from stages.networks.heads import build_classifier
from stages.retrain.config import RetrainConfig
from stages.retrain.core import Lessons, Yardstick, hard_lessons, summary_of
from stages.retrain.material import ImageBatches, Material, seed_weights
from stages.retrain.train import Task, noted_as, train
from stages.shell import Context
from stages.shell.checkpoints import Checkpoints
from stages.shell.stop import StopFlag

CLASSES = 10
RECIPE = {
    "optimizer": "sgd", "learning_rate": 0.05, "weight_decay": 5e-4, "batch_size": 256, "shift": 0.125, "flip": True,
}  # fmt: skip
MARGIN, PROBE_STEPS = 0.88, 60
PUBLISHED: dict[str, dict[str, str]] = {  # best (last) test accuracy in the papers; noise as they define it
    "cross_entropy": {"worse": "77.69"},
    "elr_plus": {"sym20": "95.8", "sym50": "94.8", "sym80": "93.3", "sym90": "78.7", "asym40": "93.0",
                 "worse": "91.09"},
    "divide_mix": {"sym20": "96.1 (95.7)", "sym50": "94.6 (94.4)", "sym80": "93.2 (92.9)", "sym90": "76.0 (75.4)",
                   "asym40": "93.4 (92.1)", "worse": "92.56"},
}  # fmt: skip


class Silent(ProgressWriter):
    """Progress that asks for the end after some steps, to see how long they take."""

    def __init__(self, folder: Path, stop: StopFlag, most: float) -> None:
        super().__init__(folder)
        self.told: list[tuple[float, float]] = []
        self.stop, self.most = stop, most

    def report(self, *said: Any, **more: Any) -> None:
        """Remember when how many samples were behind."""
        self.told.append((time.perf_counter(), said[1]))
        if 0 < self.most <= said[1]:
            self.stop.request(signal.SIGTERM)
        super().report(*said, **more)


class Cell:
    """One training."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.device = options, torch.device(options.device)
        self.name = f"{options.method}-{options.case}-{options.labels}-{options.seed}"
        tiny = {"batch_size": 32, "epochs": 4} if options.rehearse else {}
        asked = {"method": options.method, "seed": options.seed, **RECIPE, **tiny}
        self.config = RetrainConfig.model_validate(asked)
        with np.load(options.carried / f"{options.case}.npz") as held:
            self.labels = {name: held[name] for name in held.files}

    def load(self, part: str) -> tuple[Any, Any]:
        """Join the halves: pixels and labels, as arrive.py left them."""
        found = sorted(self.options.state.glob(f"cifar10-{part}-?-pixels.npy"))
        if len(found) != 2:
            sys.exit(f"{self.options.state} holds {len(found)} of the 2 halves of {part}: bring both by arrive.py")
        labels = [np.load(path.with_name(path.name.replace("pixels", "labels"))) for path in found]
        return np.concatenate([np.load(path) for path in found]), np.concatenate(labels)

    def task(self) -> Task:
        """Lay training and test images out as the stage does; test rows only measure the epochs."""
        (pixels, truth), (test_pixels, test_truth) = self.load("train"), self.load("test")
        everything = np.concatenate([pixels, test_pixels])
        cache, count = ImageCache(everything, self.device), len(truth)
        mean, std = ImageCache(pixels, self.device).mean_and_std()
        backbone, width = ("small_cnn", 8) if self.options.rehearse else ("resnet18", 64)
        shape = EncoderDescription(backbone=backbone, width=width, image_size=32, mean=mean, std=std)
        start = self.options.state / "encoder"
        known = self.options.start == "encoder"
        encoder = load_encoder(start / "encoder.json", start / "encoder.safetensors") if known else None

        def build(number: int) -> nn.Module:
            seed_weights(self.config, number)
            return build_classifier(copy.deepcopy(encoder) if encoder else Encoder(shape), CLASSES)

        batches = ImageBatches(cache, self.config.shift, self.config.flip)
        usable = np.arange(len(everything))
        material = Material(None, usable, batches, build, lambda trained: trained, batches, {})
        tested = Yardstick(usable[count:], test_truth.astype(np.int32), np.ones(len(test_truth), dtype=bool))
        trusted = torch.from_numpy(self.labels["trusted"].astype(np.int64))
        judges = trusted, torch.from_numpy(truth)[trusted]
        return Task(
            material, {self.options.labels: self.lessons(len(everything))}, tested, judges, CLASSES, self.device
        )

    def lessons(self, count: int) -> Lessons:
        """Teach the training rows; the label table tells which share of their labels is wrong."""
        taught = np.full(count, -1, np.int32)
        said = self.labels[self.options.labels]
        taught[: len(said)] = said
        told = json.loads(str(self.labels["noise"]))[self.options.labels]
        return replace(hard_lessons(taught, np.ones(count, np.float32)), noise_rate=min(max(told, 0.0), 0.95))

    def context(self, key: str, most: float = 0) -> Context:
        """Make the surroundings of a training, without checkpoints by time."""
        work, stop = self.options.state / f"work-{key}-{time.monotonic_ns()}", StopFlag()
        request = StageRequest(
            stage="retrain", kind="models", key=key, config={}, store=str(work / "store"), work=str(work),
            resources=Resources(device=self.device.type),
        )  # fmt: skip
        store = FileStore(work / "store")
        return Context(request, store, Silent(work, stop, most), stop, Checkpoints(store, key, 1e9))

    def rate(self, task: Task) -> float:
        """Train some steps, late enough in the schedule for the method's own work, and forget them."""
        warm = {"divide_mix": {"warmup": 0.0}} if self.config.method == "divide_mix" else {}
        config = RetrainConfig.model_validate(self.config.model_dump() | warm | {"epochs": 1000})
        context = self.context("rate", PROBE_STEPS * config.batch_size)
        try:
            train(task, config, context)
        except InterruptedRunError:
            context.checkpoints.clear()
        told = context.progress.told  # type: ignore[attr-defined]
        (first, start), (last, end) = told[1], told[-1]
        return (end - start) / (last - first)

    def run(self) -> dict[str, Any]:
        """Plan, train, and say what came of it."""
        started, task = time.monotonic(), self.task()
        rows, config = len(task.train_rows()), self.config
        rate = 0.0 if self.options.rehearse else self.rate(task)
        if not self.options.rehearse:
            left = 60 * self.options.minutes - (time.monotonic() - started)
            epochs = self.options.epochs or max(1, int(MARGIN * left * rate / rows))
            config = config.model_copy(update={"epochs": epochs})
        state = train(task, config, self.context(self.name))[1]
        best, last, mean = summary_of(state.curve, noted_as(self.options.labels))
        return {
            **describe_machine(self.device, torch.get_num_threads()), "cell": self.name, "epochs": config.epochs,
            "labels_right": json.loads(str(self.labels["right"])), "start": self.options.start, "last": last,
            "mean_last_ten": mean, "best_on_test": best, "published": PUBLISHED.get(config.method, {}).get(
            self.options.case), "rows_per_second": round(rate, 1), "noise_rate": task.lessons[
            self.options.labels].noise_rate, "minutes": round((time.monotonic() - started) / 60, 2),
            "config": config.model_dump(mode="json", include={"method", "epochs", *RECIPE, "seed"}),
            "curve": [entry[noted_as(self.options.labels)] for entry in state.curve],
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", required=True)
    parser.add_argument("--case", required=True)
    parser.add_argument("--labels", choices=["given", "purified"], required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", choices=["scratch", "encoder"], default="scratch")
    parser.add_argument("--minutes", type=float, default=7.5, help="of this call, all told")
    parser.add_argument("--epochs", type=int, default=0, help="instead of as many as fit")
    parser.add_argument("--carried", type=Path, default=Path("gpu-carry/labels"))
    parser.add_argument("--state", type=Path, default=Path("/tmp/puriflow-gpu"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path("gpu-results"))
    parser.add_argument("--rehearse", action="store_true")
    options = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    found = Cell(options).run()
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{found['cell']}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: value for name, value in found.items() if name not in ("curve", "config")}))


if __name__ == "__main__":
    main()
