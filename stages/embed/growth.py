"""What an earlier table of neighbours saves: rows that are still there are compared with the new rows only.

The result is that of a fresh search. Only exact lists are gone on from, seen from the same centre; a row counts as the
same if its content and all its stored numbers are; rows that lost a neighbour are searched again.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from pipeline.artifacts import Artifact
from pipeline.features import Features, open_features
from pipeline.neighbours import CENTRE_FILE, Neighbours, open_neighbours
from stages.embed.config import VERSIONS
from stages.embed.directions import CHUNK_ROWS, Directions, take
from stages.embed.search import Found, Tasks, found, largest, search

QUERIES = 512


class Earlier(NamedTuple):
    """An earlier table, and where today's rows stood in it."""

    lists: Neighbours
    was: NDArray[np.int64]  # the earlier row of each place, -1 where it is new
    now: NDArray[np.int64]  # the place of each earlier row, -1 where it is gone


def find_earlier(previous: Artifact | None, features: Features, directions: Directions, k: int) -> Earlier | None:
    """Open an earlier table that can be gone on from; None where there is none, or where little of it is left."""
    if previous is None or previous.metrics.get("search") != "exact" or previous.metrics.get("version") != VERSIONS[""]:
        return None
    ref = previous.manifest.inputs.get("features")
    source = previous.store.find(ref.kind, ref.key) if ref else None
    if source is None or int(previous.metrics["k"]) < k or not same_centre(previous, directions):
        return None
    before = open_features(source)
    was = same_rows(before, features, directions.rows)
    if (was < 0).mean() > 0.5:
        return None
    now = np.full(len(before), -1, np.int64)
    now[was[was >= 0]] = np.flatnonzero(was >= 0)
    return Earlier(open_neighbours(previous), was, now)


def same_centre(previous: Artifact, directions: Directions) -> bool:
    """Tell whether the earlier cosines were seen from the same centre."""
    return bool(np.array_equal(np.load(previous.path(CENTRE_FILE), allow_pickle=False), directions.centre))


def same_rows(before: Features, after: Features, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find for each of today's rows an earlier one with the same content and the same numbers, each at most once."""
    earlier = np.flatnonzero(before.ok)
    old = pd.MultiIndex.from_arrays(numbered(before.sha256[earlier]))
    place = old.get_indexer(pd.MultiIndex.from_arrays(numbered(after.sha256[rows])))
    was = np.where(place >= 0, earlier[place], -1)
    if (before.dim, before.dtype) != (after.dim, after.dtype):
        return np.full(len(rows), -1, np.int64)
    for start in range(0, len(rows), CHUNK_ROWS):
        some = was[start : start + CHUNK_ROWS]
        known = some >= 0
        same = take(before, some[known]) == take(after, rows[start : start + CHUNK_ROWS][known])
        some[known] = np.where(same.all(axis=1), some[known], -1)
    return was


def numbered(content: NDArray[np.object_]) -> list[Any]:
    """Count the rows of equal content, so that the second of them is told from the first."""
    return [content, pd.Series(content).groupby(content, sort=False).cumcount().to_numpy()]


def search_onward(earlier: Earlier, base: torch.Tensor, k: int, tasks: Tasks) -> Iterator[Found]:
    """Find the k nearest others of every row: search new rows and those that lost a neighbour, merge for the others."""
    added = np.flatnonzero(earlier.was < 0)
    lost = np.zeros(len(earlier.was), bool)
    for some in parts(np.flatnonzero(earlier.was >= 0)):
        near = earlier.lists.indices[earlier.was[some], :k]
        lost[some] = ((near >= 0) & (earlier.now[near] < 0)).any(axis=1) | ((near < 0).sum(axis=1) > len(added))
    again = lost | (earlier.was < 0)
    yield from search(base, np.flatnonzero(again), k, tasks)
    new = base[torch.from_numpy(added).to(base.device)]
    kept = parts(np.flatnonzero(~again))
    yield from tasks.run(lambda some: merged(earlier, (base, new, added), some, k), kept)


def merged(
    earlier: Earlier, vectors: tuple[torch.Tensor, torch.Tensor, NDArray[np.int64]], some: NDArray[np.int64], k: int
) -> Found:
    """Merge the earlier lists of some rows with the new rows nearest to them."""
    base, new, added = vectors
    before = earlier.was[some]
    near = np.asarray(earlier.lists.indices[before, :k])
    alike = np.where(near >= 0, earlier.lists.similarity[before, :k], -np.inf).astype(np.float32)
    known = torch.from_numpy(earlier.now[near]).to(base.device)
    values, columns = largest(base[torch.from_numpy(some).to(base.device)] @ new.T, min(k, len(added)))
    places = torch.from_numpy(added).to(base.device)[columns]
    similarity = torch.cat([torch.from_numpy(alike).to(base.device), values], dim=1)
    best, order = similarity.topk(k, dim=1)
    return found(some, best, torch.cat([known, places], dim=1).gather(1, order))


def parts(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Cut row numbers into runs."""
    return [rows[start : start + QUERIES] for start in range(0, len(rows), QUERIES)]
