"""Pure parts of ingest: keys made from content, and what the rows have in common."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.datasets.annotations import NO_LABEL, SPLITS, Annotations
from pipeline.datasets.faults import naming
from pipeline.keys import KEY_LENGTH

CONTENT_VERSION = 1
SLICE_ROWS = 1 << 16


def content_key(what: str, table: pa.Table, further: Iterable[str] = ()) -> str:
    """Hash the values of a table, however they are laid out in memory."""
    total = hashlib.sha256(f"{what} {CONTENT_VERSION}".encode())
    for text in further:
        total.update(f"{len(text)}:{text}".encode())
    for field in table.schema:
        total.update(f"{field.name} {field.type} {len(table)}".encode())
        for start in range(0, len(table), SLICE_ROWS):
            for piece in values_of(table[field.name].slice(start, SLICE_ROWS)):
                total.update(piece)
    return total.hexdigest()[:KEY_LENGTH]


def values_of(column: pa.ChunkedArray) -> Iterator[bytes]:
    """Write a piece of a column as bytes that equal values share."""
    kind = column.type
    yield np.packbits(np.asarray(pc.is_valid(column).to_numpy())).tobytes()
    if pa.types.is_string(kind):
        text = pc.fill_null(column, "")
        yield np.asarray(pc.binary_length(text).to_numpy()).tobytes()
        yield "".join(text.to_pylist()).encode()
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        yield np.asarray(pc.fill_null(column, 0).to_numpy()).tobytes()
    else:
        yield repr(column.to_pylist()).encode()


@dataclass(frozen=True)
class Duplicates:
    """How often the same bytes occur."""

    rows: int  # that repeat an earlier row
    across_splits: int  # rows whose bytes occur in another split too
    warnings: list[str]


def find_duplicates(sha256: pa.ChunkedArray, annotations: Annotations) -> Duplicates:
    """Count byte-identical rows, those in several splits, and those that are trusted to be different things."""
    groups = np.asarray(pc.fill_null(sha256, "").combine_chunks().dictionary_encode().indices.to_numpy())
    real = np.asarray(pc.not_equal(sha256, "").to_numpy())
    counts = np.bincount(groups[real], minlength=1)
    repeats = int((counts[counts > 1] - 1).sum())
    if not repeats:
        return Duplicates(0, 0, [])
    split = np.searchsorted(np.sort(SPLITS), annotations.split)
    across = int((several(groups, split, real) & real).sum())
    trusted = real & (annotations.trusted != NO_LABEL)
    torn = np.flatnonzero(several(groups, annotations.trusted, trusted) & trusted)
    warnings = []
    if across:
        warnings.append(f"{across} rows have byte-identical twins in another split")
    if len(torn):
        ids = naming([annotations.sample_ids[i] for i in torn[:5]], len(torn))
        warnings.append(f"{len(torn)} trusted rows are byte-identical but trusted to be different classes: {ids}")
    return Duplicates(repeats, across, warnings)


def several(groups: NDArray[np.integer], values: NDArray[np.integer], among: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell for every row whether its group holds more than one value among the rows that count."""
    size = int(groups.max()) + 1
    least = np.full(size, np.iinfo(np.int64).max)
    most = np.full(size, -1)
    np.minimum.at(least, groups[among], values[among])
    np.maximum.at(most, groups[among], values[among])
    return np.asarray((most > least)[groups])


def counts_of(annotations: Annotations) -> dict[str, object]:
    """Count rows, classes, trusted rows and splits for the manifest."""
    return {
        "rows": len(annotations),
        "classes": len(annotations.class_names),
        "trusted": int((annotations.trusted != NO_LABEL).sum()),
        "given": int((annotations.given != NO_LABEL).sum()),
        "annotators": int(annotations.annotators.shape[1]) or 1,
        "splits": {name: int((annotations.split == name).sum()) for name in SPLITS},
    }
