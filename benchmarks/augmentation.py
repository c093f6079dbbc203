"""Measure the augmentation of whole batches alone: ours, kornia's, torchvision's v2 and lightly's, on the same images.

`python benchmarks/augmentation.py --data ../shared/data`: random resized crop (scale 0.2 to 1), mirror, colour jitter
(strength 0.5, probability 0.8) and grey (0.2), each image by its own draw, float32 in, float32 out; milliseconds for
1,000 views, medians of rounds in which everybody takes a turn. kornia draws per image for a whole batch; v2 draws once
a call, so that it is called for each image; lightly works on Pillow images, in one process. A DataLoader makes the last
two as many times faster as there are cores, at best. kornia: `pip install -e .[bench]`; without it its row is missing.
"""

import argparse
import json
import os
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from machine import describe_machine, load_images
from PIL import Image
from torch import Tensor

from stages.images.augment import augment
from stages.images.augmentation import Augmentation
from stages.images.cache import to_batch

Way = Callable[[], object]


def kornia_way(batch: Tensor, how: Augmentation) -> Way | None:
    try:
        import kornia.augmentation as kornia
    except ImportError:
        return None
    size, strength = batch.shape[-1], how.colour
    steps = torch.nn.Sequential(
        kornia.RandomResizedCrop((size, size), scale=(how.crop_scale, 1.0)),
        kornia.RandomHorizontalFlip(p=0.5),
        kornia.ColorJitter(0.8 * strength, 0.8 * strength, 0.8 * strength, 0.2 * strength, p=0.8),
        kornia.RandomGrayscale(p=how.grey),
    )
    return lambda: steps(batch)


def torchvision_way(batch: Tensor, how: Augmentation) -> Way:
    from torchvision.transforms import v2

    strength = how.colour
    jitter = v2.ColorJitter(0.8 * strength, 0.8 * strength, 0.8 * strength, 0.2 * strength)
    steps = v2.Compose([
        v2.RandomResizedCrop(batch.shape[-1], scale=(how.crop_scale, 1.0), antialias=False),
        v2.RandomHorizontalFlip(p=0.5), v2.RandomApply([jitter], p=0.8), v2.RandomGrayscale(p=how.grey),
    ])  # fmt: skip
    return lambda: torch.stack([steps(image) for image in batch])


def lightly_way(pixels: Tensor, how: Augmentation) -> Way:
    from lightly.transforms.simclr_transform import SimCLRViewTransform

    steps = SimCLRViewTransform(
        input_size=pixels.shape[1], cj_strength=how.colour, min_scale=how.crop_scale, random_gray_scale=how.grey,
        gaussian_blur=0.0, normalize=None,
    )  # fmt: skip
    images = [Image.fromarray(image.numpy()) for image in pixels]
    return lambda: torch.stack([steps(image) for image in images])


def ways_of(pixels: Tensor, how: Augmentation, device: torch.device) -> dict[str, tuple[Way, int]]:
    """Name who is measured, each with the views that one call makes; the slow ones are given fewer."""
    batch, few = to_batch(pixels, device), min(64, len(pixels))
    generator = torch.Generator(device).manual_seed(0)
    found = {
        "puriflow": (lambda: augment(batch, how, generator), len(batch)),
        "kornia": (kornia_way(batch, how), len(batch)),
        "torchvision v2": (torchvision_way(batch[:few], how), few),
        "lightly (Pillow)": (lightly_way(pixels[:few], how), few),
    }
    return {name: (way, views) for name, (way, views) in found.items() if way is not None}


def seconds_of(way: Way, device: torch.device) -> float:
    started = time.perf_counter()
    way()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def measure(pixels: Tensor, device: torch.device, rounds: int) -> dict[str, float]:
    """Return milliseconds for 1,000 views of each."""
    ways = ways_of(pixels, Augmentation(), device)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, (way, views) in ways.items():
            seconds = seconds_of(way, device)
            if number:  # the first round warms up
                times[name].append(1e6 * seconds / views)
    return {name: round(statistics.median(found), 3) for name, found in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 96])
    parser.add_argument("--views", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    device = torch.device(options.device)
    rows: list[dict[str, Any]] = []
    print("| pixels | images | who | ms for 1,000 views | times ours |\n|---|---|---|---|---|")
    for size in options.sizes:
        pixels, source = load_images(options.data, options.views, size)
        found = measure(torch.from_numpy(pixels), device, options.rounds)
        for name, milliseconds in found.items():
            times = round(milliseconds / found["puriflow"], 2)
            rows.append({"size": size, "images": source, "who": name, "ms_per_1000": milliseconds, "times_ours": times})
            print(f"| {size} | {source} | {name} | {milliseconds:.1f} | {times:.2f} |", flush=True)
    record = {**describe_machine(device, options.threads), "seed": 0, "rounds": options.rounds, "rows": rows}
    if options.out:
        options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
