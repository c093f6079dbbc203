"""Read or make features, then find neighbours, strangers and duplicates."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.artifacts import Artifact
from pipeline.errors import DataError
from pipeline.features import Features, open_features
from pipeline.neighbours import INDEX_FILE, Neighbours, write_neighbours
from stages.embed.config import EmbedConfig
from stages.embed.core import directions, earliest_twins, mean_row, outlier_scores, without_self
from stages.embed.encode import embed_images
from stages.embed.search import search
from stages.networks.devices import pick_device
from stages.shell import Context

CHUNK_ROWS = 8192


def produce(config: EmbedConfig, context: Context) -> dict[str, Any]:
    """Find the neighbours of every row of the features, which are an input or made from images here."""
    torch.set_num_threads(context.workers)
    given = context.optional_input("features")
    artifact = given or embed_images(config, context)
    context.extra_inputs["features"] = artifact.ref
    features = open_features(artifact)
    rows = np.flatnonzero(features.ok)
    if len(rows) == 0:
        raise DataError(f"none of the {len(features)} rows has features.", "See the reasons in the listing of ingest.")
    indices, similarity = find_neighbours(unit_vectors(features, rows), config.k, context)
    twins = earliest_twins(indices, similarity, features.sha256[rows], config.duplicate_similarity)
    neighbours = spread(rows, features.sample_ids, (indices, similarity, twins), config.k)
    write_neighbours(context.folder, features.sample_ids, neighbours)
    return {
        "rows": len(features), "usable": len(rows), "dim": features.dim, "k": config.k,
        **effort(artifact, made_here=given is None),
        "duplicates": int((twins != np.arange(len(rows))).sum()),
        "mean_similarity": round(float(similarity.mean()), 4) if similarity.size else 0.0,
    }  # fmt: skip


def unit_vectors(features: Features, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Centre the usable rows at their mean and scale them to length 1, [n, d]."""

    def chunks() -> Any:
        return (features.take(rows[start : start + CHUNK_ROWS]) for start in range(0, len(rows), CHUNK_ROWS))

    vectors = np.empty((len(rows), features.dim), np.float32)
    start = 0
    for chunk in directions(chunks(), mean_row(chunks())):
        vectors[start : start + len(chunk)] = chunk
        start += len(chunk)
    return vectors


def find_neighbours(
    vectors: NDArray[np.float32], k: int, context: Context
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Find the k nearest others of every row, or all others where there are fewer."""
    count = len(vectors)
    k = min(k, count - 1)
    indices, similarity = np.empty((count, k), np.int64), np.empty((count, k), np.float32)
    device = pick_device(context.resources.device)
    for start, near, alike in search(vectors, k + 1, device, context.workers, context.folder / INDEX_FILE):
        end = start + len(near)
        indices[start:end], similarity[start:end] = without_self(near, alike, start)
        context.progress.report("neighbours", end, count, "rows")
        context.stop.check()
    return indices, np.clip(similarity, -1.0, 1.0)


def spread(
    rows: NDArray[np.int64],
    sample_ids: NDArray[np.object_],
    found: tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]],
    k: int,
) -> Neighbours:
    """Put what was found among usable rows in its place among all rows."""
    indices, similarity, twins = found
    result = Neighbours(
        indices=np.full((len(sample_ids), k), -1, np.int32),
        similarity=np.zeros((len(sample_ids), k), np.float16),
        outlier_score=np.full(len(sample_ids), np.nan, np.float32),
        duplicate_of=np.full(len(sample_ids), None, dtype=object),
    )
    width = indices.shape[1]
    result.indices[rows, :width] = rows[indices]
    result.similarity[rows, :width] = similarity
    result.outlier_score[rows] = outlier_scores(similarity)
    repeats = twins != np.arange(len(rows))
    result.duplicate_of[rows[repeats]] = sample_ids[rows[twins[repeats]]]
    return result


def effort(features: Artifact, made_here: bool) -> dict[str, int]:
    """Say how many rows had to be encoded and how many were copied."""
    if not made_here:
        return {"computed": 0, "copied": 0}
    return {name: int(features.metrics[name]) for name in ("computed", "copied")}
