"""A noisy copy of a clean table: the same rows with an exact share of wrong labels, and the truth beside it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import ConfigError, DataError
from pipeline.noise import KINDS, Kind, inject

TRUTH = "truth.parquet"


@dataclass(frozen=True)
class Columns:
    """Where a table has its labels, ids ('' = row numbers) and splits ('' = all rows are train rows)."""

    label: str
    sample_id: str = ""
    split: str = ""


@dataclass(frozen=True)
class NoisyCopy:
    """What was written, and how many labels are wrong in it."""

    noisy: Path
    truth: Path
    rows: int  # that may have got noise: labelled train rows
    wrong: int

    def to_dict(self) -> dict[str, Any]:
        """Describe the copy for `--json`."""
        return {"noisy": str(self.noisy), "truth": str(self.truth), "rows": self.rows, "wrong": self.wrong}


def write_noisy(source: Path, out: Path, columns: Columns, noise: tuple[str, float, int]) -> NoisyCopy:
    """Copy a Parquet table with noise (kind, rate, seed) in its train labels."""
    kind, rate, seed = noise
    target, truth = out / source.name, out / TRUTH
    taken = next((path for path in (target, truth) if path.exists()), None)
    if taken:
        raise ConfigError(f"{taken} is there already.", "Name another folder with --out.")
    table = read(source, columns)
    noisy, changed, judged = with_noise(table, columns, checked_kind(kind), rate, seed)
    out.mkdir(parents=True, exist_ok=True)
    pq.write_table(noisy, target)
    pq.write_table(pa.table({"sample_id": ids_of(table, columns, source), "true_label": table[columns.label]}), truth)
    return NoisyCopy(target.absolute(), truth.absolute(), judged, changed)


def read(source: Path, columns: Columns) -> pa.Table:
    """Read a table that has the columns."""
    try:
        table = pq.read_table(source)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{source} cannot be read: {error}.", "Name a Parquet file.") from error
    for column in filter(None, (columns.label, columns.sample_id, columns.split)):
        if column not in table.column_names:
            names = ", ".join(table.column_names)
            raise ConfigError(f"{source} has no column '{column}'; it has: {names}.", "Name one of these.")
    return table


def checked_kind(kind: str) -> Kind:
    """Refuse noise that we do not know."""
    for known in KINDS:
        if kind == known:
            return known
    raise ConfigError(f"there is no noise '{kind}'.", f"Choose one of: {', '.join(KINDS)}.")


def with_noise(table: pa.Table, columns: Columns, kind: Kind, rate: float, seed: int) -> tuple[pa.Table, int, int]:
    """Return the table with noise, the number of wrong labels, and of rows that could have got one."""
    labels = table[columns.label].combine_chunks()
    if pa.types.is_dictionary(labels.type):
        labels = labels.dictionary_decode()
    classes = pc.unique(labels.drop_null()).sort()
    codes = pc.index_in(labels, classes).fill_null(-1).to_numpy(zero_copy_only=False)
    train = codes >= 0
    if columns.split:
        train &= np.array([split in ("train", None) for split in table[columns.split].to_pylist()])
    noisy = codes.copy()
    noisy[train] = inject(codes[train], kind, rate, len(classes), seed)
    values = classes.take(pa.array(noisy, mask=noisy < 0)).cast(labels.type)
    place = table.schema.get_field_index(columns.label)
    field = pa.field(columns.label, values.type, metadata=table.schema.field(place).metadata)
    return table.set_column(place, field, values), int((noisy != codes).sum()), int(train.sum())


def ids_of(table: pa.Table, columns: Columns, source: Path) -> pa.Array:
    """Take the ids, or make those that ingest would make."""
    if columns.sample_id:
        return table[columns.sample_id].cast(pa.string())
    return pa.array([f"{source.name}:{row}" for row in range(len(table))])
