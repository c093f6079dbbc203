"""Read or make features, then find neighbours, strangers and duplicates."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from pipeline.artifacts import Artifact
from pipeline.errors import DataError
from pipeline.features import Features, open_features
from pipeline.neighbours import CENTRE_FILE, Floats, create_lists, write_evidence
from stages.embed.config import VERSIONS, EmbedConfig
from stages.embed.core import Pairs, earliest_twins, outlier_scores
from stages.embed.directions import Directions, pick_centre
from stages.embed.encode import embed_images
from stages.embed.growth import find_earlier
from stages.embed.lists import Lists, fill_by_cells, fill_exactly, is_exact
from stages.embed.search import Tasks
from stages.networks.devices import pick_device
from stages.networks.encoder import CENTRE_FILE as ENCODER_CENTRE_FILE
from stages.shell import Context

CHUNK_ROWS = 65_536
CHUNKS = 16


def produce(config: EmbedConfig, context: Context) -> dict[str, Any]:
    """Find the neighbours of every row of the features, which are an input or made from images here."""
    torch.set_num_threads(context.workers)
    given = context.optional_input("features")
    artifact = given or embed_images(config, context)
    if not context.ranks.main:
        return {}
    context.extra_inputs["features"] = artifact.ref
    features = open_features(artifact)
    directions = directions_of(features, context)
    lists = Lists(*create_lists(context.folder, len(features), config.k), min(config.k, len(directions) - 1))
    searched = find_neighbours(config, context, features, directions, lists)
    similarity = mean_similarity(lists, directions.rows)
    twins = earliest_twins(same_pairs(lists, features, directions.rows, config.duplicate_similarity), len(features))
    write_told(context, features, directions.rows, similarity, twins)
    return {
        "rows": len(features), "usable": len(directions), "dim": features.dim, "k": config.k,
        **effort(artifact, made_here=given is None), **searched, "version": VERSIONS[""],
        "duplicates": int((twins != np.arange(len(features))).sum()),
        "mean_similarity": round(float(similarity.mean()), 4),
    }  # fmt: skip


def directions_of(features: Features, context: Context) -> Directions:
    """Choose what the usable rows are seen from, and write it down."""
    rows = np.flatnonzero(features.ok)
    if len(rows) == 0:
        raise DataError(f"none of the {len(features)} rows has features.", "See the reasons in the listing of ingest.")
    encoder = context.optional_input("encoder")
    given = None
    if encoder is not None and encoder.has(ENCODER_CENTRE_FILE):
        given = np.load(encoder.path(ENCODER_CENTRE_FILE), allow_pickle=False).astype(np.float64)
    centre = pick_centre(features, rows, given)
    np.save(context.folder / CENTRE_FILE, centre, allow_pickle=False)
    return Directions(features, rows, centre)


def find_neighbours(
    config: EmbedConfig, context: Context, features: Features, directions: Directions, lists: Lists
) -> dict[str, Any]:
    """Fill the lists in the way that fits the number of rows."""
    tasks = Tasks(pick_device(context.resources.device, context.ranks), context.workers)
    if not is_exact(config, len(directions), tasks):
        return fill_by_cells(config, lists, directions, context, tasks)
    earlier = find_earlier(context.hint("previous"), features, directions, config.k)
    return fill_exactly(lists, directions, context, tasks, earlier)


def parts(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Cut rows into runs, of which there are few."""
    size = max(CHUNK_ROWS, len(rows) // CHUNKS)
    return (rows[start : start + size] for start in range(0, len(rows), size))


def mean_similarity(lists: Lists, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Average the similarities of each usable row to its neighbours [n]; 0 where there is none."""
    width = max(lists.width, 1)
    means = [lists.similarity[some, :width].mean(axis=1, dtype=np.float64) for some in parts(rows)]
    return np.concatenate(means)


def same_pairs(lists: Lists, features: Features, rows: NDArray[np.int64], threshold: float) -> Iterator[Pairs]:
    """Name the pairs of rows whose content is byte-identical or whose similarity reaches the threshold."""
    content = features.rows["sha256"].take(pa.array(rows)).combine_chunks().dictionary_encode().indices.to_numpy()
    _, first, group = np.unique(content, return_index=True, return_inverse=True)
    yield rows, rows[first[group]]
    for some in parts(rows):
        places, columns = np.nonzero(lists.similarity[some, : lists.width] >= threshold)
        yield some[places], lists.indices[some[places], columns]


def write_told(
    context: Context, features: Features, rows: NDArray[np.int64], similarity: NDArray[np.float64],
    twins: NDArray[np.int64],
) -> None:  # fmt: skip
    """Write how strange each row is and which earlier one it repeats."""
    score: Floats = np.full(len(features), np.nan, np.float32)
    score[rows] = outlier_scores(similarity)
    repeats = np.flatnonzero(twins != np.arange(len(features)))
    duplicate_of = np.full(len(features), None, dtype=object)
    duplicate_of[repeats] = features.sample_ids[twins[repeats]]
    write_evidence(context.folder, features.sample_ids, score, duplicate_of)


def effort(features: Artifact, made_here: bool) -> dict[str, int]:
    """Say how many rows had to be encoded and how many were copied."""
    if not made_here:
        return {"computed": 0, "copied": 0}
    return {name: int(features.metrics[name]) for name in ("computed", "copied")}
