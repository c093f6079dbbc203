"""Measure the report of a large dataset of pictures: seconds, memory, size of the page.

`python benchmarks/report.py --rows 1000000`: CIFAR-10's training images that lie there, each drawn many times with
other brightness and a shift, labelled as people did (`worse`), ten trusted rows a class. `puriflow clean` takes them
through every stage, with features that are quick to make and worth little; then the report is written once more and
measured: the whole command, from starting Python to the page. Everything stays in FOLDER and is not done again.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from machine import describe_machine
from PIL import Image

FILES = ("cifar10-train-0.parquet", "cifar10-train-1.parquet")
FILE_ROWS = 50_000
TRUSTED = 10  # a class
SECTIONS: dict[str, Any] = {
    "represent": {"method": "patches", "image_size": 16,
                  "patches": {"atoms": 16, "stride": 4, "grid": 2, "dim": 32, "images": 4000}},
    "purify": {"method": "fusion"},
    "retrain": {"enabled": False},
}  # fmt: skip


def drawn(image: Image.Image, rng: np.random.Generator) -> bytes:
    """Draw an image anew: another brightness, moved by up to two pixels."""
    shift = rng.integers(-2, 3, 2)
    pixels = np.roll(np.asarray(image, np.float32), shift, (0, 1)) * rng.uniform(0.8, 1.2)
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def tables(data: Path, rows: int) -> Iterator[pa.Table]:
    """Make the rows, one table for each file."""
    labels = pd.read_parquet(data / "cifar10n-labels.parquet").set_index("id")
    source = pd.concat([pd.read_parquet(data / name) for name in FILES], ignore_index=True)
    images = [Image.open(io.BytesIO(image["bytes"])).convert("RGB") for image in source["image"]]
    given, truth = labels.loc[source["id"], "worse"].to_numpy(), source["label"].to_numpy()
    checked = np.concatenate([np.flatnonzero(truth == label)[:TRUSTED] for label in range(10)])
    for start in range(0, rows, FILE_ROWS):
        rng = np.random.default_rng([0, start])
        numbers = np.arange(start, min(start + FILE_ROWS, rows))
        of = numbers % len(images)
        trusted = np.isin(numbers, checked)
        yield pa.table({
            "id": [f"picture-{number:07d}" for number in numbers], "label": given[of],
            "checked": pa.array(truth[of], mask=~trusted), "image": [drawn(images[i], rng) for i in of],
        })  # fmt: skip


def write_source(folder: Path, data: Path, rows: int) -> Path:
    """Write pictures and document, unless they are there."""
    document = folder / "clean.yaml"
    if not document.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for number, table in enumerate(tables(data, rows)):
            pq.write_table(table, folder / f"rows-{number:03d}.parquet")
        columns = {"sample_id": "id", "image": "image", "given_label": "label", "trusted_label": "checked"}
        dataset = {"name": f"pictures-{rows}", "kind": "parquet", "path": ["rows-*.parquet"], "columns": columns}
        document.write_text(yaml.safe_dump({"dataset": dataset, **SECTIONS}, sort_keys=False), encoding="utf-8")
    return document


def clean(document: Path, workers: int, *settings: str) -> dict[str, Any]:
    """Run the command; return what it says, with its seconds, processor seconds and the largest process's memory."""
    program = str(Path(sys.executable).with_name("puriflow"))
    words = [word for setting in settings for word in ("--set", setting)]
    command = [program, "clean", str(document), "--store", str(document.parent / "store"), "--json"]
    began = time.perf_counter()
    process = subprocess.Popen([*command, "--workers", str(workers), *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"puriflow clean ended with status {status}")
    return {
        **json.loads(said), "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1), "peak_mib": round(used.ru_maxrss / 1024),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path("report-benchmark"), help="pictures and store")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "report.json")
    options = parser.parse_args()
    document = write_source(options.folder / str(options.rows), options.data, options.rows)
    whole = clean(document, options.workers)
    again = clean(document, options.workers, f"report.title=written {datetime.now(UTC):%Y-%m-%d %H:%M:%S}")
    page = Path(again["report"])
    record = {
        **describe_machine(torch.device("cpu"), options.workers), "rows": options.rows,
        "stages": {kind: told["seconds"] for kind, told in whole["artifacts"].items()},
        "report": {name: again[name] for name in ("seconds", "cpu_seconds", "peak_mib")},
        "page_bytes": page.stat().st_size, "counts": again["counts"],
        "left_out": json.loads((page.parent / "report.json").read_text(encoding="utf-8"))["rows_left_out"],
    }  # fmt: skip
    known = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else []
    kept = [one for one in known if one["rows"] != options.rows]
    options.out.write_text(json.dumps([*kept, record], indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1), page)


if __name__ == "__main__":
    main()
