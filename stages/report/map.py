"""A map of the features: a sample of rows laid out on a plane so that like ones lie together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from pipeline.features import Features
from stages.images.thumbnails import Pictures, data_uri
from stages.report.rows import Indices, LabelRows

Projection = Literal["tsne", "pca"]
FEWEST = 50  # rows; below that t-SNE has nothing to keep together
COMPONENTS = 50
COLOURED = 10  # classes with a colour of their own
TILE = 28  # pixels of a picture that is shown on hovering
SIDE = 1000  # units of the drawing


@dataclass(frozen=True)
class FeatureMap:
    """Rows on a plane, and which classes have a colour."""

    rows: Indices
    places: npt.NDArray[np.int64]  # [n, 2] in units of the drawing
    of: int  # rows that could have been drawn
    projection: Projection
    coloured: list[int]


def feature_map(features: Features, rows: LabelRows, points: int, projection: Projection) -> FeatureMap | None:
    """Lay out an even sample of rows, the same one every time."""
    able = np.flatnonzero(features.ok)
    if points == 0 or len(able) < 3:
        return None
    chosen = np.sort(np.random.default_rng(0).permutation(able)[:points])
    values = features.take(chosen).astype(np.float32)
    method: Projection = projection if len(chosen) >= FEWEST else "pca"
    with threadpool_limits(1):  # sums in one order: the same page everywhere
        flat = project(values, method)
    low, high = flat.min(axis=0), flat.max(axis=0)
    places = 20 + (SIDE - 40) * (flat - low) / np.maximum(high - low, 1e-12)
    counts = np.bincount(rows.target[chosen][rows.target[chosen] >= 0], minlength=len(rows.classes))
    coloured = [int(c) for c in np.argsort(-counts, kind="stable")[:COLOURED] if counts[c]]
    return FeatureMap(chosen, places.round().astype(np.int64), len(able), method, coloured)


def project(values: npt.NDArray[np.float32], method: Projection) -> npt.NDArray[np.float64]:
    """Bring rows [n, d] of length 1 down to [n, 2]."""
    centred = (values - values.mean(axis=0)).astype(np.float64)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)
    left, sizes, _ = np.linalg.svd(centred - centred.mean(axis=0), full_matrices=False)
    signs = np.sign(left[np.abs(left).argmax(axis=0), np.arange(left.shape[1])])  # else each machine has its own
    flat = (left * sizes * signs)[:, :COMPONENTS]
    flat = np.pad(flat, ((0, 0), (0, max(0, 2 - flat.shape[1]))))
    spread = float(flat[:, 0].std())
    if method == "pca" or spread < 1e-9:
        return np.asarray(flat[:, :2])
    perplexity = min(30.0, (len(flat) - 1) / 3)
    start = (flat[:, :2] * (1e-4 / spread)).astype(np.float32)
    found = TSNE(perplexity=perplexity, init=start, learning_rate="auto", random_state=0, max_iter=500, n_jobs=1)
    return np.asarray(found.fit_transform(flat.astype(np.float32)), dtype=np.float64)


def drawn(found: FeatureMap, rows: LabelRows) -> list[dict[str, Any]]:
    """Say of each point where it is and which colours it takes by given label, by purified one, by what happened."""
    colour = {label: f"{number}" for number, label in enumerate(found.coloured)}
    trusted, changed, review = (mask[found.rows] for mask in (rows.trusted, rows.changed, rows.review))
    fate = np.select([trusted, changed, review], ["t", "c", "r"], "k")
    return [
        {"x": int(x), "y": int(y), "g": colour.get(int(rows.given[row]), "o"),
         "p": colour.get(int(rows.target[row]), "o"), "f": str(fate[place])}
        for place, (row, (x, y)) in enumerate(zip(found.rows, found.places, strict=True))
    ]  # fmt: skip


def sprite(found: FeatureMap, ids: Sequence[str], pictures: Pictures) -> tuple[str, int]:
    """Lay the pictures of these rows out in one; return it and how many stand beside each other."""
    columns = max(1, int(np.ceil(np.sqrt(len(found.rows)))))
    height = -(-len(found.rows) // columns)
    sheet = Image.new("RGB", (columns * TILE, height * TILE), "white")
    for place, sample_id in enumerate(ids):
        picture = pictures.small(sample_id, TILE)
        if picture is not None:
            left, top = place % columns * TILE, place // columns * TILE
            sheet.paste(picture, (left + (TILE - picture.width) // 2, top + (TILE - picture.height) // 2))
    return data_uri(sheet, 70), columns
