"""Measure embed: time, memory and recall of neighbours on made-up features, and what an earlier run saves.

`python benchmarks/embed.py --rows 50000 200000 1000000 --growth 0.01`: rows of 512 numbers in 1,000 clusters, each of
which varies in 24 directions of its own, with noise in all. Each line is the whole stage program on features that are
there, from starting Python to the published artifact. `recall` is measured on 1,000 other rows than those by which the
stage chose how far to look. `cpu_seconds` is processor time, which holds on a busy machine too.
`--images ../shared/data --rows 20000 --growth 0.01`: CIFAR-10 images, encoded by a small CNN, instead of made-up rows.
"""

import argparse
import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from pipeline.artifacts import Artifact, Manifest, Ref, list_files
from pipeline.datasets.images import ROWS_SCHEMA as IMAGES_SCHEMA
from pipeline.datasets.images import open_images
from pipeline.features import ROWS_SCHEMA, FeaturesWriter, open_features
from pipeline.neighbours import CENTRE_FILE, open_neighbours
from pipeline.requests import Resources, StageRequest
from pipeline.store import FileStore
from stages.embed.approximate import true_neighbours
from stages.embed.config import EmbedConfig
from stages.embed.directions import Directions
from stages.embed.search import Tasks
from stages.images.cache import to_batch
from stages.images.decoding import decode_rows
from stages.networks.encoder import Encoder, EncoderDescription, save_encoder

CLUSTERS, SPREAD = 1000, 24
CHUNK = 8192


def made_up(rows: int, dim: int) -> Iterator[np.ndarray[Any, Any]]:
    """Make rows chunk by chunk; the first rows of a longer run are those of a shorter one."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CLUSTERS, dim)).astype(np.float32)
    axes = 0.25 * rng.normal(size=(CLUSTERS, SPREAD, dim)).astype(np.float32)
    for start in range(0, rows, CHUNK):
        rng = np.random.default_rng([1, start])
        cluster = rng.integers(0, CLUSTERS, CHUNK)
        values = centres[cluster] + 0.3 * rng.normal(size=(CHUNK, dim)).astype(np.float32)
        values += np.einsum("ns,nsd->nd", rng.normal(size=(CHUNK, SPREAD)).astype(np.float32), axes[cluster])
        yield values[: rows - start]


def publish_features(store: FileStore, rows: int, dim: int) -> Artifact:
    """Publish features as ingest does for a dataset that comes as features."""
    ref = Ref(kind="features", key=f"made-up-{rows}-{dim}")
    with store.staging(ref.kind, ref.key) as folder:
        writer = FeaturesWriter(folder, dim, np.float16)
        for chunk in made_up(rows, dim):
            writer.append(chunk)
        ids = [f"row-{i:09d}" for i in range(rows)]
        writer.close(pa.table([ids, ids, ["ok"] * rows, [""] * rows], schema=ROWS_SCHEMA))
        return store.publish(folder, Manifest(kind=ref.kind, key=ref.key, files=list_files(folder)))


def publish_centre(store: FileStore, dim: int) -> Artifact:
    """Publish what embed takes from an encoder here: the centre that stays where rows are added."""
    ref = Ref(kind="encoders", key=f"centre-{dim}")
    with store.staging(ref.kind, ref.key) as folder:
        np.save(folder / CENTRE_FILE, next(made_up(CHUNK, dim)).mean(axis=0))
        return store.publish(folder, Manifest(kind=ref.kind, key=ref.key, files=list_files(folder)))


def publish_encoder(store: FileStore) -> Artifact:
    """Publish a small CNN that was never trained, which costs what a trained one does; its centre is set later."""
    ref = Ref(kind="encoders", key="small-cnn")
    torch.manual_seed(0)
    half = (0.5, 0.5, 0.5)
    encoder = Encoder(EncoderDescription(backbone="small_cnn", image_size=32, mean=half, std=half)).eval()
    images = open_images(store.get(Ref(kind="images", key="cifar-2000")))
    with torch.inference_mode(), store.staging(ref.kind, ref.key) as folder:
        pixels = torch.from_numpy(decode_rows(images, np.arange(len(images)), 32))
        np.save(folder / CENTRE_FILE, encoder(to_batch(pixels, torch.device("cpu"))).mean(dim=0).numpy())
        save_encoder(encoder, folder)
        return store.publish(folder, Manifest(kind=ref.kind, key=ref.key, files=list_files(folder)))


def publish_images(store: FileStore, rows: int, data: Path) -> Artifact:
    """Publish the first images of CIFAR-10 as ingest does."""
    names = ("cifar10-train-0.parquet", "cifar10-train-1.parquet")
    table = pa.concat_tables([pq.read_table(data / name, columns=["id", "image"]) for name in names])[:rows]
    encoded = [image["bytes"] for image in table["image"].to_pylist()]
    starts = np.cumsum([0, *map(len, encoded)])
    shard, ref = Ref(kind="shards", key=f"cifar-{rows}"), Ref(kind="images", key=f"cifar-{rows}")
    with store.staging(shard.kind, shard.key) as folder:
        (folder / "data.bin").write_bytes(b"".join(encoded))
        store.publish(folder, Manifest(kind=shard.kind, key=shard.key, files=list_files(folder)))
    columns = {
        "sample_id": table["id"], "sha256": [hashlib.sha256(e).hexdigest() for e in encoded], "source": [""] * rows,
        "width": [32] * rows, "height": [32] * rows, "status": ["ok"] * rows, "reason": [""] * rows,
        "shard": [shard.key] * rows, "offset": starts[:-1], "length": np.diff(starts),
    }  # fmt: skip
    with store.staging(ref.kind, ref.key) as folder:
        pq.write_table(pa.table(columns, schema=IMAGES_SCHEMA), folder / "rows.parquet")
        return store.publish(folder, Manifest(kind=ref.kind, key=ref.key, files=list_files(folder)))


def run_stage(store: FileStore, config: EmbedConfig, inputs: dict[str, Ref], hints: dict[str, Ref]) -> dict[str, Any]:
    """Run the stage program on its own; return what it measured, its time and its peak memory."""
    key = f"{next(iter(inputs.values())).key}-{'grown' if hints else 'fresh'}-{config.exact_rows}"
    with store.work("benchmark") as work:
        request = StageRequest(
            stage="embed", kind="neighbours", key=key, config=config.model_dump(mode="json"), inputs=inputs,
            hints=hints, store=store.url, work=str(work), resources=Resources(),
        )  # fmt: skip
        started = time.perf_counter()
        program = [sys.executable, "-P", "-m", "stages.embed", str(request.save(work / "request.json"))]
        with subprocess.Popen(program, stdout=subprocess.DEVNULL) as process:
            _, code, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(code)
        if process.returncode:
            sys.exit(f"embed ended with exit code {process.returncode}")
    seconds = time.perf_counter() - started
    return {
        "artifact": store.get(Ref(kind="neighbours", key=key)), "seconds": round(seconds, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1), "peak_rss_mb": round(used.ru_maxrss / 1e3),
    }  # fmt: skip


def recall_of(artifact: Artifact, features: Artifact) -> float:
    """Compare the lists of 1,000 rows with their true neighbours."""
    source, found = open_features(features), open_neighbours(artifact)
    centre = np.load(artifact.path(CENTRE_FILE), allow_pickle=False)
    directions = Directions(source, np.arange(len(source)), centre)
    truth = true_neighbours(directions, found.k, Tasks(torch.device("cpu"), os.cpu_count() or 1), seed=99)
    return truth.recall(found.indices[truth.rows])


def measure(store: FileStore, rows: int, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure a dataset as new, then grown."""
    config = EmbedConfig(k=arguments.k, exact_rows=arguments.exact_rows, recall=arguments.recall)
    hints: dict[str, Ref] = {}
    if arguments.images:
        publish_images(store, 2000, arguments.images)
        encoder = publish_encoder(store).ref
    else:
        encoder = publish_centre(store, arguments.dim).ref
    for count in [rows, *([round(rows * (1 + arguments.growth))] if arguments.growth else [])]:
        if arguments.images:
            inputs = {"images": publish_images(store, count, arguments.images).ref, "encoder": encoder}
        else:
            inputs = {"features": publish_features(store, count, arguments.dim).ref, "encoder": encoder}
        told = run_stage(store, config, inputs, hints)
        artifact = told.pop("artifact")
        hints = {"previous": artifact.ref}
        names = ("dim", "search", "computed", "copied", "kept", "cells", "probes")
        features = store.get(artifact.manifest.inputs["features"])
        said = {"recall_said": artifact.metrics["recall"], "recall": round(recall_of(artifact, features), 4)}
        yield {"rows": count, "k": arguments.k, **{n: artifact.metrics.get(n) for n in names}, **told, **said}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[50_000], help="rows of each run")
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--exact-rows", type=int, default=200_000, help="embed.exact_rows")
    parser.add_argument("--recall", type=float, default=0.95, help="embed.recall")
    parser.add_argument("--growth", type=float, default=0.0, help="share of rows that are added for a second run")
    parser.add_argument("--images", type=Path, help="folder with CIFAR-10 in Parquet, to encode its images")
    parser.add_argument("--folder", type=Path, help="where the store lies (a temporary folder)")
    parser.add_argument("--output", type=Path, help="write the results to this JSON file")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    rows = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        store = FileStore(Path(folder))
        for count in arguments.rows:
            for row in measure(store, count, arguments):
                rows.append(row)
                print(json.dumps(row), flush=True)
    machine = {"cpus": os.cpu_count(), "platform": platform.platform(), "torch": torch.__version__}
    if arguments.output:
        arguments.output.write_text(json.dumps({"machine": machine, "runs": rows}, indent=1) + "\n", encoding="utf-8")
    print(f"peak of this script: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000} MB")


if __name__ == "__main__":
    main()
