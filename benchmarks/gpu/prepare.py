"""Collect what a bare machine with a GPU lacks: wheels, and CIFAR-10 in two halves, each small enough to carry.

`python benchmarks/gpu/prepare.py --data ../shared/data --to gpu-carry` writes gpu-carry/wheels (a few megabytes: what
such machines with PyTorch mostly lack), gpu-carry/half-0 and gpu-carry/half-1 (52 MB each: half of the training and
half of the test images, as they are encoded). `--rehearse` takes 400 + 100 images in all and no wheels.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

NAMES = (
    "pydantic", "pydantic-core", "annotated-types", "typing-inspection", "typing-extensions", "lightly", "kornia",
    "kornia-rs",
)  # fmt: skip
PYTHON = "3.12"
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux1_x86_64")
CARRIED = 64 << 20  # bytes that one call may bring
FEW = (400, 100)


def collect_wheels(folder: Path) -> None:
    """Download the wheels, pinned by constraints.txt."""
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "--python-version", PYTHON,
         "--implementation", "cp", *platforms, "-c", "constraints.txt", "-d", str(folder), *NAMES],
        check=True,
    )  # fmt: skip


def split(data: Path, folder: Path, rehearse: bool) -> None:
    """Write the two halves, each under the names of the whole: train-N and test-N."""
    test = pq.read_table(data / "cifar10-test.parquet")
    few_train, few_test = (FEW[0] // 2, FEW[1] // 2) if rehearse else (len(test) * 10, len(test))
    middle = len(test) // 2
    for number, part in enumerate((test.slice(0, middle), test.slice(middle))):
        half = folder / f"half-{number}"
        half.mkdir(parents=True, exist_ok=True)
        train = pq.read_table(data / f"cifar10-train-{number}.parquet")
        write(train.slice(0, few_train), half / f"cifar10-train-{number}.parquet")
        write(part.slice(0, few_test), half / f"cifar10-test-{number}.parquet")


def write(table: pa.Table, path: Path) -> None:
    """Write encoded images, which no compression makes smaller."""
    pq.write_table(table.select(["id", "image", "label"]), path, compression="none", row_group_size=4096)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--to", type=Path, default=Path("gpu-carry"))
    parser.add_argument("--rehearse", action="store_true", help="few images, no wheels")
    options = parser.parse_args()
    if not (options.data / "cifar10-test.parquet").exists():
        sys.exit(f"there is no CIFAR-10 in {options.data}: name its folder with --data")
    if not options.rehearse:
        collect_wheels(options.to / "wheels")
    split(options.data, options.to, options.rehearse)
    for part in sorted(options.to.iterdir()):
        size = sum(path.stat().st_size for path in part.iterdir())
        print(f"{part}: {len(list(part.iterdir()))} files, {size / 1e6:.1f} MB")
        if size > CARRIED:
            sys.exit(f"{part} is too large: {size} bytes, at most {CARRIED} can be carried at once")


if __name__ == "__main__":
    main()
