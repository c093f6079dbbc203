"""Publish what ingest makes: shards and images, or features; then annotations."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.artifacts import Ref
from pipeline.datasets.annotations import KIND as ANNOTATIONS
from pipeline.datasets.annotations import Annotations, annotations_table, write_annotations
from pipeline.datasets.config import DatasetConfig
from pipeline.datasets.faults import naming
from pipeline.datasets.files import Files
from pipeline.datasets.images import KIND as IMAGES
from pipeline.datasets.images import ROWS_FILE, ROWS_SCHEMA
from pipeline.errors import DataError
from pipeline.features import KIND as FEATURES
from pipeline.features import FeaturesWriter, storage_dtype
from stages.ingest.core import content_key
from stages.ingest.earlier import Earlier
from stages.ingest.pictures import examine
from stages.ingest.samples import Pack, Samples, Vectors
from stages.ingest.shards import ShardWriter
from stages.ingest.workers import Answer, Workers
from stages.shell import Context

CHUNK_ROWS = 8192
FOUND = pa.schema([ROWS_SCHEMA.field(name) for name in ("sha256", "width", "height", "reason", "length")])


@dataclass(frozen=True)
class Content:
    """The published images or features, and what is told about their rows."""

    name: str  # images | features
    ref: Ref
    sha256: pa.ChunkedArray
    reason: pa.ChunkedArray


def publish_images(
    samples: Samples, pictures: Files | list[Pack], config: DatasetConfig, context: Context, earlier: Earlier | None
) -> Content:
    """Examine all images, pack their bytes into shards, and publish the table of rows."""
    copy = config.images == "copy"
    shards, parts = ShardWriter(context), []
    with Workers(context.workers, config.max_pixels, keep=copy) as workers:
        for batch in examine(pictures, earlier, workers):
            context.stop.check()
            known = batch.known
            parts.append(found_rows(known))
            for row in zip(known.sha256, known.lengths, batch.data, strict=True):
                shards.add(*(row if copy else (*row[:2], None)))
            context.progress.report("images", len(shards), len(samples), "images")
    found = pa.Table.from_batches(parts, FOUND)
    shard, offset = shards.finish()
    status = pc.if_else(pc.equal(found["reason"], ""), "ok", "broken")
    extra = {"sample_id": samples.roles["sample_id"], "source": samples.source, "status": status, "shard": shard,
             "offset": pa.array(offset)}  # fmt: skip
    columns = {name: extra[name] if name in extra else found[name] for name in ROWS_SCHEMA.names}
    rows = pa.table(columns).cast(ROWS_SCHEMA)
    refuse_all_broken(rows)
    root = "" if copy or not isinstance(pictures, Files) else pictures.root
    ref = context.publish(
        Ref(kind=IMAGES, key=images_key(rows, root)),
        lambda folder: write_rows(folder, rows, root),
        {f"shard-{number:05d}": ref for number, ref in enumerate(shards.refs)},
    ).ref
    return Content("images", ref, rows["sha256"], rows["reason"])


def found_rows(known: Answer) -> pa.RecordBatch:
    """Lay out what was found about a batch of images."""
    columns = (known.sha256, known.width, known.height, known.reason, known.lengths)
    return pa.record_batch([pa.array(c, t) for c, t in zip(columns, FOUND.types, strict=True)], schema=FOUND)


def images_key(rows: pa.Table, root: str) -> str:
    """Name images by content; only where files stay in their place does the place count."""
    names = ["sample_id", "sha256", "status", "reason"]
    return content_key("images", rows.select([*names, "source"] if root else names), [root])


def write_rows(folder: Path, rows: pa.Table, root: str) -> Mapping[str, Any]:
    """Write the table of rows and say how many there are."""
    pq.write_table(rows, folder / ROWS_FILE, compression="zstd")
    ok = int(pc.sum(pc.equal(rows["status"], "ok")).as_py())
    counts = {"rows": len(rows), "ok": ok, "bytes": int(pc.sum(rows["length"]).as_py())}
    return {**counts, "mode": "reference" if root else "copy", "root": root}


def refuse_all_broken(rows: pa.Table) -> None:
    """Insist on at least one image that can be decoded."""
    if pc.all(pc.equal(rows["status"], "broken")).as_py():
        first = [f"{r['sample_id']}: {r['reason']}" for r in rows.slice(0, 5).to_pylist()]
        raise DataError(
            f"none of {len(rows)} images can be used: {naming(first, len(rows))}.",
            "Check dataset.path, dataset.root and dataset.columns.image.",
        )


def publish_features(samples: Samples, vectors: Vectors, context: Context) -> Content:
    """Check the user's features and publish them."""
    ids = samples.roles["sample_id"]
    refuse_not_finite(vectors, ids)
    dtype = storage_dtype(floats(chunk) for chunk in vectors.chunks(CHUNK_ROWS))
    sha256 = []
    for chunk in vectors.chunks(CHUNK_ROWS):
        context.stop.check()
        stored = np.ascontiguousarray(floats(chunk), dtype=dtype)
        sha256 += [hashlib.sha256(row).hexdigest() for row in stored]
        context.progress.report("features", len(sha256), len(samples), "rows")
    rows = pa.table(
        {"sample_id": ids, "sha256": pa.chunked_array([pa.array(sha256, pa.string())]),
         "status": pa.repeat("ok", len(ids)), "reason": pa.repeat("", len(ids))}
    )  # fmt: skip

    def write(folder: Path) -> Mapping[str, Any]:
        writer = FeaturesWriter(folder, vectors.dim, dtype)
        for chunk in vectors.chunks(CHUNK_ROWS):
            writer.append(floats(chunk))
        writer.close(rows)
        return {"rows": len(ids), "dim": vectors.dim, "dtype": str(dtype), "ok": len(ids)}

    key = content_key("features", rows.select(["sample_id", "sha256"]), [str(dtype), str(vectors.dim)])
    ref = context.publish(Ref(kind=FEATURES, key=key), write).ref
    return Content("features", ref, rows["sha256"], rows["reason"])


def floats(chunk: np.ndarray) -> np.ndarray:
    """Read numbers of any type as float16 or float32."""
    return chunk if chunk.dtype == np.float16 else np.asarray(chunk, dtype=np.float32)


def refuse_not_finite(vectors: Vectors, ids: pa.ChunkedArray) -> None:
    """Insist that all features are numbers."""
    wrong: list[int] = []
    done = 0
    with np.errstate(over="ignore"):
        for chunk in vectors.chunks(CHUNK_ROWS):
            wrong += (done + np.flatnonzero(~np.isfinite(floats(chunk)).all(axis=1))).tolist()
            done += len(chunk)
    if wrong:
        first = [str(ids[row]) for row in wrong[:5]]
        raise DataError(
            f"features of {len(wrong)} of {done} rows hold NaN, infinity or numbers beyond float32: "
            f"{naming(first, len(wrong))}.",
            "Mend these rows, or leave them out of table and features.",
        )


def publish_annotations(
    annotations: Annotations, content: Content, context: Context, metrics: Mapping[str, Any]
) -> Ref:
    """Publish the labels of all rows; equal labels on equal images are the same artifact."""

    def write(folder: Path) -> Mapping[str, Any]:
        write_annotations(folder, annotations)
        return metrics

    own = content_key("own", annotations.own) if annotations.own is not None else ""
    further = [content.ref.key, own, json.dumps(annotations.class_names), json.dumps(dict(metrics), sort_keys=True)]
    key = content_key("annotations", annotations_table(annotations), further)
    return context.publish(Ref(kind=ANNOTATIONS, key=key), write, {content.name: content.ref}).ref
