"""Read what the page is made from out of the input artifacts."""

import json
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.artifacts import Artifact
from pipeline.datasets.annotations import OWN_FILE
from pipeline.datasets.images import open_images
from pipeline.features import open_features
from pipeline.labels import LABELS_FILE, read_labels, read_metadata
from pipeline.models import open_model
from pipeline.neighbours import open_neighbours
from pipeline.store import Store
from stages.images.thumbnails import Pictures
from stages.report.config import ReportConfig
from stages.report.core import Reliability, reliability
from stages.report.map import feature_map
from stages.report.rows import LabelRows
from stages.report.sections import Findings
from stages.report.steps import steps_behind

SUMMARY_FILE = "summary.json"
AUDIT_FILE = "audit.parquet"
ROWS_FILE = "rows.parquet"


def gather(config: ReportConfig, store: Store, inputs: Mapping[str, Artifact]) -> Findings:
    """Read the inputs of a report; images and model may be absent."""
    labels, annotations = inputs["labels"], inputs["annotations"]
    path = labels.path(LABELS_FILE)
    summary = json.loads(labels.path(SUMMARY_FILE).read_text(encoding="utf-8"))
    gate = summary.get("gate") or {}
    rows = LabelRows(read_labels(path), read_metadata(path)["classes"], bool(gate.get("open")))
    return Findings(
        title=config.title or str(annotations.metrics.get("title") or annotations.metrics.get("dataset") or "Labels"),
        rows=rows,
        summary=summary,
        own=pq.read_table(annotations.path(OWN_FILE)) if annotations.has(OWN_FILE) else None,
        pictures=Pictures(open_images(inputs["images"]), config.thumbnail) if "images" in inputs else None,
        broken=broken_rows(inputs.get("images") or inputs["features"]),
        reliability=audited(labels),
        model=open_model(inputs["model"]).metrics if "model" in inputs else None,
        steps=steps_behind(store, inputs),
        encoder_warnings=warnings_of_encoder(store, inputs["features"]),
        software=labels.manifest.versions,
        neighbours=open_neighbours(inputs["neighbours"]) if "neighbours" in inputs else None,
        map=feature_map(open_features(inputs["features"]), rows, config.map_points, config.projection),
    )


def warnings_of_encoder(store: Store, features: Artifact) -> Sequence[str]:
    """Read what the encoder behind the features warns of, where there is one."""
    ref = features.manifest.inputs.get("encoder")
    encoder = store.find(ref.kind, ref.key) if ref else None
    return [str(warning) for warning in encoder.metrics.get("warnings", [])] if encoder else []


def broken_rows(artifact: Artifact) -> Sequence[tuple[str, str]]:
    """List the rows of images or features that could not be read, with the reason."""
    table = pq.read_table(artifact.path(ROWS_FILE), columns=["sample_id", "status", "reason"])
    broken = table.filter(pc.not_equal(table["status"], "ok"))
    return list(zip(broken["sample_id"].to_pylist(), broken["reason"].to_pylist(), strict=True))


def audited(labels: Artifact) -> Sequence[Reliability]:
    """Compare promised and found on the audited trusted rows."""
    if not labels.has(AUDIT_FILE):
        return []
    table = pq.read_table(labels.path(AUDIT_FILE), columns=["trusted_label", "label", "belief"])
    beliefs = table["belief"].combine_chunks()
    if not len(beliefs.values):  # no row was audited, or there are too many classes to keep what was believed
        return []
    label = table["label"].to_numpy()
    promised = belief_in(beliefs, label)
    return reliability(promised, np.asarray(label == table["trusted_label"].to_numpy(), dtype=bool))


def belief_in(beliefs: pa.ListArray, label: np.ndarray) -> np.ndarray:
    """Take from each list of beliefs the one in a label."""
    at = beliefs.offsets.to_numpy()[:-1] + label
    return np.asarray(beliefs.values.to_numpy(zero_copy_only=False)[at], dtype=np.float32)
