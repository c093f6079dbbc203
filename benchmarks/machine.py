"""What benchmarks share: which machine and which code a figure comes from, and images to measure with."""

import io
import os
import platform
import resource
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

CIFAR = "cifar10-train-0.parquet"
CIFAR_SIZE = 32


def describe_machine(device: torch.device, threads: int) -> dict[str, Any]:
    """Name commit, processor, GPU and versions, for the record of a benchmark."""
    found = {"commit": commit(), "processor": processor(), "cores": len(os.sched_getaffinity(0)), "threads": threads}
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
    return {**found, "python": platform.python_version(), "torch": torch.__version__}


def commit() -> str:
    """Name the commit that is checked out."""
    said = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return said.stdout.strip()


def processor() -> str:
    """Name the processor and the widest arithmetic it has."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"


def moment(device: torch.device) -> NDArray[np.float64]:
    """Wait for the device; return the seconds of the clock on the wall and of this process's processors, [2]."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return np.array([time.perf_counter(), time.process_time()])


def ended_children() -> NDArray[np.float64]:
    """Return the processor seconds of child processes that ended, as a moment in which the wall's clock stood still."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return np.array([0.0, used.ru_utime + used.ru_stime])


def load_images(data: Path, count: int, size: int) -> tuple[NDArray[np.uint8], str]:
    """Load some images [count, size, size, 3] and say what they are: CIFAR-10 where it lies there, else random ones."""
    if not (data / CIFAR).exists():
        return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8), "random"
    import pyarrow.parquet as pq

    column = pq.ParquetFile(data / CIFAR).read_row_group(0, columns=["image"])["image"].combine_chunks().field("bytes")
    blobs = column.to_pylist()
    images = [Image.open(io.BytesIO(blobs[i % len(blobs)])).convert("RGB") for i in range(count)]
    scaled = "" if size == CIFAR_SIZE else ", enlarged"
    return np.stack([np.asarray(image.resize((size, size))) for image in images]), f"CIFAR-10{scaled}"
