"""Ingest: read every kind of dataset once, publish images (or features) and annotations, remember what was seen."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.datasets.config import DatasetConfig
from pipeline.datasets.decisions import read_decisions
from pipeline.datasets.files import Files
from pipeline.datasets.sources import allowed_roots
from pipeline.errors import DataError
from stages.images.decode import DECODE_VERSION
from stages.ingest.annotate import annotate
from stages.ingest.core import counts_of, find_duplicates
from stages.ingest.earlier import LISTING_FILE, LISTING_SCHEMA, open_earlier
from stages.ingest.publish import Content, publish_annotations, publish_features, publish_images
from stages.ingest.readers import read_samples
from stages.ingest.roles import refuse_bad_ids
from stages.ingest.samples import Pack, Samples
from stages.shell import Context

SHOWN = 10


def produce(config: DatasetConfig, context: Context) -> Mapping[str, Any]:
    """Bring a dataset in; labels are checked before any image is decoded."""
    context.progress.report("rows", 0, 1, "tables")
    samples = read_samples(config, allowed_roots(config))
    if not len(samples):
        raise DataError(f"dataset '{config.name}' has 0 rows.", "Check dataset.path (or table) and what it holds.")
    refuse_bad_ids(samples.roles["sample_id"])
    annotations, findings = annotate(samples, config, read_decisions(context.store, config.name))
    context.stop.check()
    content = publish_content(samples, config, context)
    duplicates = find_duplicates(content.sha256, annotations)
    broken = int(pc.sum(pc.not_equal(content.reason, "")).as_py())
    metrics = {
        "dataset": config.name, "title": config.title, **counts_of(annotations), "decisions": findings.decisions,
        "quarantined": broken, "duplicates": duplicates.rows, "duplicates_across_splits": duplicates.across_splits,
        "class_names_derived": findings.class_names_derived, "warnings": [*findings.warnings, *duplicates.warnings],
    }  # fmt: skip
    ref = publish_annotations(annotations, content, context, metrics)
    context.extra_inputs.update({content.name: content.ref, "annotations": ref})
    pq.write_table(listing_of(samples, content), context.folder / LISTING_FILE, compression="zstd")
    return {
        **metrics, "ok": len(samples) - broken, "quarantine": first_broken(samples, content),
        "decode_version": DECODE_VERSION,
    }  # fmt: skip


def publish_content(samples: Samples, config: DatasetConfig, context: Context) -> Content:
    """Publish the features of a features dataset, the images of all others."""
    if samples.vectors is not None:
        return publish_features(samples, samples.vectors, context)
    assert samples.pictures is not None
    earlier = open_earlier(context.hint("previous"), config, context.store)
    return publish_images(samples, samples.pictures, config, context, earlier)


def first_broken(samples: Samples, content: Content) -> list[str]:
    """Show the first quarantined rows with their reasons."""
    rows = pc.indices_nonzero(pc.not_equal(content.reason, "")).slice(0, SHOWN)
    ids, reasons = samples.roles["sample_id"].take(rows).to_pylist(), content.reason.take(rows).to_pylist()
    return [f"{sample}: {reason}" for sample, reason in zip(ids, reasons, strict=True)]


def listing_of(samples: Samples, content: Content) -> pa.Table:
    """Say for every row which file it came from, as it was, and the checksum of its image."""
    pictures = samples.pictures
    if isinstance(pictures, Files):
        columns = [pa.array(pictures.uri, pa.string()), pa.array(pictures.size), pa.array(pictures.mtime)]
        return pa.table([*columns, content.sha256], schema=LISTING_SCHEMA)
    if pictures is None:
        return LISTING_SCHEMA.empty_table()
    return pa.concat_tables([LISTING_SCHEMA.empty_table(), *pack_listings(pictures, content.sha256)])


def pack_listings(packs: list[Pack], sha256: pa.ChunkedArray) -> list[pa.Table]:
    """List the rows of files that hold many images."""
    tables, start = [], 0
    for pack in packs:
        columns = [pa.repeat(pack.uri, pack.rows), np.full(pack.rows, pack.size), np.full(pack.rows, pack.mtime)]
        tables.append(pa.table([*columns, sha256.slice(start, pack.rows)], schema=LISTING_SCHEMA))
        start += pack.rows
    return tables
