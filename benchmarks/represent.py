"""Measure how close training comes to the bare network, and how it compares with lightly's own example recipe.

`python benchmarks/represent.py --data ../shared/data --out benchmarks/results/represent.json`, in one run, in turns:

- bare, the bound: forward, loss, backward and optimiser step of the same network on views made beforehand: the same
  batch, precision and memory format, no data at all;
- ours: the whole of `train`, from the uint8 cache through augmentation, loss, step and progress to the next batch;
- lightly: its example (examples/pytorch/simclr.py): Pillow transforms in a DataLoader with a worker for each core, two
  forward passes of the same encoder and head, its loss, SGD in float32; on a GPU again in bfloat16 with channels last.

Time is that between the first and the last step of a block; ratios are of neighbouring blocks, medians over the rounds.
The loader may fill its queue before the clock starts, which favours lightly, as do images that need no decoding.
"data": what one image costs before the network sees it, alone; lightly's by all cores together. The same two ratios by
processor time, which the loader's processes count in, hold on a busy machine too, with one thread at least.
"""

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightly_example import STILL, Example
from machine import describe_machine, load_images, moment
from numpy.typing import NDArray
from torch import Tensor

from pipeline.progress import ProgressWriter
from pipeline.requests import Resources, StageRequest
from pipeline.store import FileStore
from stages.images.augment import augment
from stages.images.augmentation import Augmentation
from stages.images.cache import ImageCache
from stages.networks.devices import mixed_precision
from stages.represent.config import RepresentConfig
from stages.represent.produce import build_network, train
from stages.shell import Context
from stages.shell.checkpoints import Checkpoints
from stages.shell.stop import StopFlag
from stages.training.optimisers import build_optimiser

CPU = torch.device("cpu")
BLUR_FROM = 64  # pixels

Seconds = NDArray[np.float64]  # by the clock on the wall, and of processors


@dataclass(frozen=True)
class Case:
    """A row of the table."""

    backbone: str
    width: int
    size: int
    batch: int
    steps: int  # in a block


CASES = {
    "cpu": (Case("small_cnn", 64, 32, 128, 4), Case("small_cnn", 32, 32, 256, 6), Case("resnet18", 64, 32, 64, 3)),
    "cuda": (
        Case("small_cnn", 64, 32, 512, 60), Case("resnet18", 64, 32, 512, 40), Case("resnet50", 64, 32, 512, 20),
        Case("resnet18", 64, 96, 512, 20), Case("resnet50", 64, 224, 256, 20),
    ),
}  # fmt: skip
HEAD = (
    "| network | pixels | batch | images | bare, images/s | ours | share of bare | lightly | times lightly | "
    "our data, ms an image | lightly's | "
    "share of bare by processor time | times lightly |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|"
)
TINY = (Case("small_cnn", 8, 32, 8, 2),)


class Clock(ProgressWriter):
    """Progress that remembers when it was told, and at which sample."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.told: list[tuple[Seconds, int]] = []

    def report(self, *said: Any, **more: Any) -> None:
        """Remember, then report."""
        self.told.append((moment(CPU), said[1]))
        super().report(*said, **more)

    def seconds_an_image(self) -> Seconds:
        """Divide the time between the first and the last report by the images between them."""
        (first, start), (last, end) = self.told[0], self.told[-1]
        return (last - first) / (end - start)


class Bench:
    """One case on one device."""

    def __init__(self, case: Case, pixels: NDArray[np.uint8], device: torch.device, folder: Path) -> None:
        self.case, self.pixels, self.device, self.folder = case, pixels, device, folder
        blur = 0.5 if case.size > BLUR_FROM else 0.0
        self.config = RepresentConfig(
            backbone=case.backbone, width=case.width, image_size=case.size, batch_size=case.batch, epochs=1,
            learning_rate=STILL, augmentation=Augmentation(blur=blur),
        )  # fmt: skip
        self.cache = ImageCache(pixels, device)
        self.network = build_network(self.config, self.cache, None).to(device).to(memory_format=torch.channels_last)

    def bare(self) -> Seconds:
        """Seconds an image without any data."""
        views = torch.rand(2 * self.case.batch, 3, self.case.size, self.case.size, device=self.device)
        views = views.contiguous(memory_format=torch.channels_last)
        optimiser = build_optimiser(self.network, self.config.optimizer, STILL, self.config.weight_decay)
        self.network.train()

        def step() -> Tensor:
            with mixed_precision(self.device, self.config.precision == "mixed"):
                loss: Tensor = self.network(views, done=0.0)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            return loss.detach()

        step()
        started = moment(self.device)
        for _ in range(self.case.steps - 1):
            step()
        return (moment(self.device) - started) / ((self.case.steps - 1) * self.case.batch)

    def ours(self) -> Seconds:
        """Seconds an image of the real training."""
        request = StageRequest(
            stage="represent", kind="encoders", key="k", config={}, store=str(self.folder / "store"),
            work=str(self.folder / "work"), resources=Resources(device=self.device.type),
        )  # fmt: skip
        store, clock = FileStore(self.folder / "store"), Clock(request.work_folder)
        context = Context(request, store, clock, StopFlag(), Checkpoints(store, "k", 3600.0))
        train(self.config, context, self.network, self.cache, self.device)
        clock.close()
        return clock.seconds_an_image()

    def our_data(self) -> Seconds:
        """Seconds an image for taking it from the cache and making its two views."""
        generator = torch.Generator(self.device).manual_seed(0)
        rows = torch.randperm(len(self.pixels))[: self.case.batch]

        def make() -> None:
            images = self.cache.batch(rows)
            augment(torch.cat([images, images]), self.config.augmentation, generator)

        make()
        started = moment(self.device)
        for _ in range(self.case.steps):
            make()
        return (moment(self.device) - started) / (self.case.steps * self.case.batch)


def measure(bench: Bench, rounds: int) -> dict[str, Any]:
    """Let everybody take a turn in each round; return rates and ratios."""
    example = Example(bench.network, bench.pixels, bench.config, bench.device)
    ways: dict[str, Callable[[], Seconds]] = {"bare": bench.bare, "ours": bench.ours, "lightly": example.train}
    if bench.device.type == "cuda":
        ways["lightly_bf16"] = lambda: example.train(same_arithmetic=True)
    ways |= {"our_data": bench.our_data, "lightly_data": example.load}
    bench.bare()
    times = [{name: way() for name, way in ways.items()} for _ in range(rounds)]
    found: dict[str, Any] = {}
    for number, kind in enumerate(("", "processor_")):
        by = [{name: float(seconds[number]) for name, seconds in round_.items()} for round_ in times]
        found |= {f"{kind}ms_{n}": round(1000 * statistics.median(t[n] for t in by), 4) for n in ways}
        found[f"{kind}share_of_bare"] = round(statistics.median(t["bare"] / t["ours"] for t in by), 4)
        for name in ways.keys() & {"lightly", "lightly_bf16"}:
            found[f"{kind}times_{name}"] = round(statistics.median(t[name] / t["ours"] for t in by), 3)
    return {**found, "rounds": [{name: seconds.round(6).tolist() for name, seconds in t.items()} for t in times]}


def line_of(row: dict[str, Any]) -> str:
    """Write one row of the table."""
    network = f"{row['backbone']} {row['width']}" if row["backbone"] == "small_cnn" else row["backbone"]
    best = min(row[name] for name in ("times_lightly", "times_lightly_bf16") if name in row)
    return (
        f"| {network} | {row['size']} | {row['batch']} | {row['images']} | {1000 / row['ms_bare']:.0f} | "
        f"{1000 / row['ms_ours']:.0f} | {100 * row['share_of_bare']:.1f} % | {1000 / row['ms_lightly']:.0f} | "
        f"{best:.2f} | {row['ms_our_data']:.3f} | {row['ms_lightly_data']:.3f} | "
        f"{100 * row['processor_share_of_bare']:.1f} % | {row['processor_times_lightly']:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="one backbone")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rehearse", action="store_true", help="a tiny network, to see that everything runs")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    cases = TINY if options.rehearse else [c for c in CASES[device.type] if options.only in (None, c.backbone)]
    rows = []
    print(HEAD)
    for case in cases:
        pixels, source = load_images(options.data, case.batch * case.steps, case.size)
        with tempfile.TemporaryDirectory() as folder:
            row = {
                **asdict(case),
                "images": source,
                **measure(Bench(case, pixels, device, Path(folder)), options.rounds),
            }
        rows.append(row)
        print(line_of(row), flush=True)
    record = {**describe_machine(device, options.threads), "seed": 0, "rows": rows}
    if options.out:
        options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
