"""Install the wheels and unpack the halves of CIFAR-10 on the machine with the GPU, and say what is still missing.

`python3 benchmarks/gpu/arrive.py gpu-carry/wheels gpu-carry/half-0`: whatever folders came with this call. Wheels go to
STATE/site, images as they are and as arrays of bytes to STATE, which must lie on the machine's own disk. The last line
is JSON: what is there, and which modules nobody could import.
"""

import argparse
import importlib.util
import io
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

NEEDED = (
    "torch", "torchvision", "numpy", "PIL", "pyarrow", "pydantic", "pydantic_core", "lightly", "safetensors", "fsspec",
    "packaging", "yaml", "timm", "pytest", "sklearn",
)  # fmt: skip


def install(wheels: Path, site: Path) -> None:
    """Unpack wheels into a folder of their own."""
    files = [str(path) for path in sorted(wheels.glob("*.whl"))]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir",
         "--upgrade", "--target", str(site), *files],
        check=True,
    )  # fmt: skip


def unpack(file: Path, state: Path) -> int:
    """Decode one Parquet file of images to NAME-pixels.npy and NAME-labels.npy."""
    import numpy as np
    import pyarrow.parquet as pq
    from PIL import Image

    shutil.copy(file, state / file.name)
    table = pq.read_table(file)
    blobs = table["image"].combine_chunks().field("bytes").to_pylist()
    with ThreadPoolExecutor() as pool:
        images = list(pool.map(lambda blob: np.asarray(Image.open(io.BytesIO(blob)).convert("RGB")), blobs))
    np.save(state / f"{file.stem}-pixels.npy", np.stack(images), allow_pickle=False)
    np.save(state / f"{file.stem}-labels.npy", table["label"].to_numpy(), allow_pickle=False)
    return len(images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--state", type=Path, default=Path("/tmp/puriflow-gpu"))
    options = parser.parse_args()
    options.state.mkdir(parents=True, exist_ok=True)
    for folder in options.folders:
        if any(folder.glob("*.whl")):
            install(folder, options.state / "site")
        for file in sorted(folder.glob("*.parquet")):
            print(f"{file}: {unpack(file, options.state)} images", flush=True)
    sys.path.insert(0, str(options.state / "site"))
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    print(json.dumps({"there": sorted(path.name for path in options.state.iterdir()), "missing": missing}))


if __name__ == "__main__":
    main()
