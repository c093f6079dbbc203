"""Read annotations, features and neighbours; write the label table and what stands behind it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from pipeline.datasets.annotations import Annotations, open_annotations
from pipeline.errors import ContractError
from pipeline.features import Features, open_features
from pipeline.labels import LABELS_FILE, check_labels, write_labels
from pipeline.neighbours import Neighbours, open_neighbours
from stages.networks.devices import pick_device
from stages.purify.audit import hash_draw
from stages.purify.config import PurifyConfig
from stages.purify.core import Purified, purify
from stages.purify.pixels import pixels_behind
from stages.purify.sample import Sample
from stages.purify.summary import small, summarise
from stages.purify.table import Inputs, audit_table, candidates_table, labels_table
from stages.purify.verdict import cautions, find_leaks, groups_of, leaks_record
from stages.purify.views import Trust
from stages.shell import Context


def produce(config: PurifyConfig, context: Context) -> dict[str, Any]:
    """Make the label table of the inputs."""
    torch.set_num_threads(context.workers)
    context.progress.report("read", 0, 3, "steps")
    annotations = open_annotations(context.input("annotations"))
    neighbours = open_neighbours(context.input("neighbours"))
    source = context.input("features")
    features = open_features(source)
    check_same_rows(annotations, features, neighbours)
    inputs = Inputs(annotations, neighbours, read_sample(annotations, features, neighbours, config, context))
    context.stop.check()
    context.progress.report("purify", 1, 3, "steps")
    result = purify(inputs.sample, trust_of(inputs), config)
    pixels = pixels_behind(source, context.store)
    summary = summarise(inputs.sample, result, config, annotations.class_names, pixels)
    leaks = find_leaks(annotations.sample_ids, neighbours.duplicate_of, annotations.split, annotations.trusted)
    summary["leaks"] = leaks_record(leaks, int((neighbours.duplicate_of != None).sum()))  # noqa: E711 (elementwise)
    summary["warnings"] += cautions(summary["features"], summary["leaks"])
    context.stop.check()
    context.progress.report("write", 2, 3, "steps")
    write(config, context, inputs, (result, summary))
    write_table(leaks, context.folder / "leaks.parquet")
    context.progress.report("write", 3, 3, "steps")
    return small(summary)


def check_same_rows(annotations: Annotations, features: Features, neighbours: Neighbours) -> None:
    """Refuse features or neighbours of another dataset."""
    ids = features.sample_ids
    if len(neighbours) == len(ids) == len(annotations) and np.array_equal(
        ids, np.array(annotations.sample_ids, object)
    ):
        return
    missing = sorted(set(annotations.sample_ids) - set(ids.tolist()))
    first = f"; {len(missing)} ids have no features (first: '{missing[0]}')" if missing else ""
    raise ContractError(
        f"annotations have {len(annotations)} rows, features {len(ids)} and neighbours {len(neighbours)}, "
        f"and they are not the same rows in the same order{first}.",
        "Run the stages of one dataset together, by `puriflow clean`.",
    )


def read_sample(
    annotations: Annotations, features: Features, neighbours: Neighbours, config: PurifyConfig, context: Context
) -> Sample:
    """Bring everything to the device that computes."""
    device = pick_device(context.resources.device)
    return Sample(
        features=torch.tensor(np.asarray(features.array())).to(device),
        neighbours=torch.tensor(np.asarray(neighbours.indices)).to(device),
        given=torch.tensor(annotations.given, dtype=torch.long).to(device),
        ok=torch.tensor(features.ok).to(device),
        train=torch.tensor(annotations.split == "train").to(device),
        draw=hash_draw(config.seed, "rows", annotations.sample_ids).to(device),
        classes=len(annotations.class_names),
        annotators=torch.tensor(annotations.annotators, dtype=torch.long).to(device)
        if annotations.annotators.shape[1] > 1
        else None,
    )


def trust_of(inputs: Inputs) -> Trust:
    """Say which rows are trusted, which of them were picked, and what they weigh."""
    annotations, device = inputs.annotations, inputs.sample.given.device
    known = np.isfinite(annotations.propensity) & (annotations.propensity > 0)
    weights = np.where(known, 1 / np.where(known, annotations.propensity, 1.0), 1.0)
    return Trust(
        labels=torch.tensor(annotations.trusted, dtype=torch.long).to(device),
        picked=torch.tensor((annotations.origin == "selected") & ~known).to(device),
        weights=torch.tensor(weights).to(device),
        groups=groups_of(annotations.sample_ids, inputs.neighbours.duplicate_of),
    )


def write(config: PurifyConfig, context: Context, inputs: Inputs, made: tuple[Purified, dict[str, Any]]) -> None:
    """Write all files of the artifact."""
    result, summary = made
    folder, names = context.folder, inputs.annotations.class_names
    table = labels_table(inputs, result)
    check_labels(table, names, inputs.annotations.trusted)
    metadata = {
        "classes": names,
        "keys": {"labels": context.request.key, **{n: r.key for n, r in context.request.inputs.items()}},
        "config": config.identity(),
        **{name: summary[name] for name in ("noise", "audit", "gate", "baselines")},
    }
    write_labels(folder / LABELS_FILE, table, metadata)
    write_table(candidates_table(inputs, result), folder / "candidates.parquet")
    write_table(audit_table(inputs, result), folder / "audit.parquet")
    if result.rows.beliefs.shape[1]:
        np.save(folder / "beliefs.npy", result.rows.beliefs.cpu().numpy(), allow_pickle=False)
    (folder / "summary.json").write_text(json.dumps(summary, ensure_ascii=False, indent=1), encoding="utf-8")


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table in the one way that equal tables share."""
    pq.write_table(table, path, compression="zstd")
