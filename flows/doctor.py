"""What must be right on this machine before a run: each check says what it found and what to do about it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from flows.quantities import size
from pipeline.errors import PuriflowError

State = Literal["ok", "warn", "fail"]
LOW_DISK = 5e9
NO_DISK = 5e8
PROBE_OBJECT = "trash/.doctor"
PROBE = (
    "import torch; n = torch.cuda.device_count() if torch.cuda.is_available() else 0; "
    "print(torch.__version__, *[torch.cuda.get_device_name(i) for i in range(n)], sep='\\n')"
)


@dataclass(frozen=True)
class Check:
    """One line of the doctor: ok, warn (works, but) or fail (will not work)."""

    name: str
    state: State
    found: str
    remedy: str = ""

    def to_dict(self) -> dict[str, str]:
        """Describe the check for `--json`."""
        return asdict(self)


def examine(store: str) -> Iterator[Check]:
    """Go through everything that a run on this machine needs; nothing heavy is imported into this process."""
    yield check_python()
    yield from check_packages()
    yield check_torch()
    yield check_neighbours()
    yield check_cores()
    yield from check_store(store)


def check_python() -> Check:
    """Compare this Python with the versions we test."""
    found = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Check("python", "ok", found)
    return Check("python", "fail", found, "Use Python 3.11, 3.12 or 3.13.")


def check_packages() -> Iterator[Check]:
    """Compare what is installed with what this package declares, without importing any of it."""
    for text in metadata.requires("puriflow") or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield check_package(requirement)
    yield check_extra("s3fs", "s3", "stores on S3")


def check_package(requirement: Requirement) -> Check:
    """Compare one installed package with the versions that fit."""
    wanted = f"{requirement.name}{requirement.specifier}"
    try:
        found = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        state: State = "warn" if requirement.name.startswith("faiss") else "fail"
        return Check(requirement.name, state, "not installed", f"pip install '{wanted}'")
    if requirement.specifier.contains(found, prereleases=True):
        return Check(requirement.name, "ok", found)
    return Check(requirement.name, "fail", f"{found} does not fit", f"pip install '{wanted}'")


def check_extra(package: str, extra: str, purpose: str) -> Check:
    """Tell whether an optional package is there; its absence is no fault."""
    if find_spec(package):
        return Check(f"extra {extra}", "ok", f"{package} {metadata.version(package)}")
    return Check(f"extra {extra}", "ok", f"not installed; only {purpose} need it: pip install 'puriflow[{extra}]'")


def check_torch() -> Check:
    """Import torch in a child process and see which devices it has."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", PROBE], capture_output=True, text=True, timeout=120, check=False
        )
    except subprocess.TimeoutExpired:
        return Check("torch runs", "fail", "its import did not end within two minutes", "Look at the disk and memory.")
    lines = done.stdout.split("\n")
    if done.returncode != 0:
        why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return Check("torch runs", "fail", why, "pip install --force-reinstall torch")
    devices = [line for line in lines[1:] if line]
    if devices:
        return Check("torch runs", "ok", f"{lines[0]} with {', '.join(devices)}")
    if Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi"):
        return Check(
            "torch runs", "fail", f"{lines[0]} sees no CUDA device, but this machine has a GPU",
            "Look at CUDA_VISIBLE_DEVICES and `nvidia-smi`; in a container, at its device requests.",
        )  # fmt: skip
    return Check(
        "torch runs", "warn", f"{lines[0]}, no CUDA device: training runs on the CPU",
        "Fine for small data; choose backbone small_cnn and few epochs, or a machine with a GPU.",
    )  # fmt: skip


def check_neighbours() -> Check:
    """Tell whether the fast neighbour search is there."""
    if find_spec("faiss"):
        return Check("faiss", "ok", "there")
    return Check("faiss", "warn", "not there: embed.index cannot be written", "pip install faiss-gpu")


def check_cores() -> Check:
    """Count the cores that this process may use."""
    cores = len(os.sched_getaffinity(0))
    return Check(
        "cores", "ok" if cores > 1 else "warn", str(cores), "" if cores > 1 else "Two cores or more are better."
    )


def check_store(url: str) -> Iterator[Check]:
    """Write to the store, or see whether it could be made, and how much room it has."""
    from pipeline.store import FileStore, open_store

    try:
        store = open_store(url)
        if isinstance(store, FileStore) and not store.root.exists():
            yield from check_new_store(store.root)
            return
        store.replace(PROBE_OBJECT, b"written by puriflow doctor")
        store.remove(PROBE_OBJECT)
    except PuriflowError as error:
        yield Check("store", "fail", error.message, error.remedy)
        return
    yield Check("store", "ok", f"{store.url} can be written")
    if isinstance(store, FileStore):
        yield check_disk(store.root)


def check_new_store(root: Path) -> Iterator[Check]:
    """Tell whether a store that is not there yet could be made; make nothing."""
    above = next(parent for parent in root.parents if parent.exists())
    if not os.access(above, os.W_OK):
        yield Check("store", "fail", f"{root} cannot be made: {above} is read-only", "Name another --store.")
        return
    yield Check("store", "ok", f"{root} is not there yet and can be made")
    yield check_disk(above)


def check_disk(folder: Path) -> Check:
    """Measure the free space where the store is."""
    free = shutil.disk_usage(folder).free
    state: State = "fail" if free < NO_DISK else "warn" if free < LOW_DISK else "ok"
    remedy = "" if state == "ok" else "Free space (`puriflow store gc`), or name another --store."
    return Check("disk", state, f"{size(free)} free", remedy)
