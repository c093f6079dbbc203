"""Kind features: a table of rows, and their features as .npy [rows, d] or as Parquet with sample_id and features."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.datasets.config import DatasetConfig
from pipeline.datasets.faults import naming, nearest
from pipeline.datasets.sources import expand
from pipeline.datasets.tables import is_parquet, read_table, table_schema
from pipeline.errors import DataError
from stages.ingest.readers.table import empty_rows, numbered, unnamed
from stages.ingest.roles import as_text, is_heavy, own_columns, read_roles, refuse_bad_ids, role_columns
from stages.ingest.samples import Samples, Vectors

REMEDY = "Row i of the features must belong to row i of the table; or give Parquet with sample_id and features."


def read_features(config: DatasetConfig) -> Samples:
    """Read the table and open the features."""
    roles, own, sources, warnings = [], [], [], []
    for path in expand(config.table, "dataset.table"):
        where, names = f"table {path}", [f.name for f in table_schema(path) if not is_heavy(f.type)]
        names = [n for n in names if n not in ("features", config.columns.image)]
        found = role_columns(config.columns, names, where)
        table = read_table(path, names)
        source = numbered(path.name, table.num_rows)
        roles.append(read_roles(table, found, where, source))
        sources.append(source)
        warnings += [] if "sample_id" in found else [unnamed(path.name)]
        mine = own_columns(table, found.values(), text_only=not is_parquet(path))
        own.append(mine if mine is not None else empty_rows(table.num_rows))
    everything = pa.concat_tables(roles, promote_options="default")
    vectors = read_vectors(expand(config.features, "dataset.features"), everything["sample_id"])
    joined = pa.concat_tables(own, promote_options="permissive")
    return Samples(
        everything, pa.concat_arrays(sources), None, vectors, joined if joined.num_columns else None, warnings
    )


def read_vectors(paths: list[Path], ids: pa.ChunkedArray) -> Vectors:
    """Open the features in the order of the table's rows."""
    if all(is_parquet(p) for p in paths):
        return Vectors([by_id(paths, ids)])
    parts = [open_npy(p) for p in paths]
    widths = sorted({part.shape[1] for part in parts})
    if len(widths) > 1:
        raise DataError(f"features have {naming(widths)} columns in different files.", "All must have the same width.")
    rows = sum(len(part) for part in parts)
    if rows != len(ids):
        raise DataError(f"features have {rows} rows but the table has {len(ids)}.", REMEDY)
    return Vectors(parts)


def open_npy(path: Path) -> np.ndarray:
    """Map one .npy file of numbers."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError) as error:
        raise DataError(f"features {path} cannot be read: {error}.", "Expected: .npy [rows, d] or Parquet.") from error
    if array.ndim != 2 or array.shape[1] == 0 or array.dtype.kind not in "fiu":
        raise DataError(f"features {path} have shape {array.shape} of {array.dtype}.", "Expected: numbers [rows, d].")
    return np.asarray(array)


def by_id(paths: list[Path], ids: pa.ChunkedArray) -> np.ndarray:
    """Read features from Parquet and put them into the table's order by sample id."""
    tables = [features_table(p) for p in paths]
    table = pa.concat_tables(tables, promote_options="permissive")
    if "sample_id" not in table.column_names:
        if table.num_rows != len(ids):
            raise DataError(f"features have {table.num_rows} rows but the table has {len(ids)}.", REMEDY)
        return matrix(table["features"])
    theirs = as_text(table["sample_id"], "sample_id", "the features")
    refuse_bad_ids(theirs)
    order = pc.index_in(ids, value_set=theirs)
    if order.null_count:
        lacking = ids.filter(pc.is_null(order))
        raise DataError(
            f"{len(lacking)} of {len(ids)} rows have no features: {naming(lacking)}.",
            "Give every row of the table its features.",
        )
    if len(theirs) > len(ids):
        extra = theirs.filter(pc.invert(pc.is_in(theirs, value_set=ids)))
        raise DataError(
            f"{len(extra)} features belong to no row of the table: {naming(extra)}.",
            "Add their rows to the table, or drop them.",
        )
    rows, values = order.to_numpy(), matrix(table["features"])
    in_order = bool((rows == np.arange(len(values))).all())
    return values if in_order else np.asarray(values[rows])


def features_table(path: Path) -> pa.Table:
    """Read ids and features of one Parquet file."""
    names = table_schema(path).names
    if "features" not in names:
        raise DataError(f"features {path} have no column 'features'.", nearest("features", names))
    return read_table(path, [n for n in ("sample_id", "features") if n in names])


def matrix(column: pa.ChunkedArray) -> np.ndarray:
    """Turn a column of lists of one length into [rows, d]."""
    lengths = pc.unique(pc.list_value_length(column)).to_pylist()
    if len(lengths) != 1 or not lengths[0]:
        raise DataError(
            f"features have lists of {naming(lengths)} numbers.", "Every row needs the same number of them."
        )
    values = pc.list_flatten(column).combine_chunks()
    if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
        raise DataError(f"features hold {values.type}.", "Expected: numbers.")
    numbers = pc.fill_null(values, np.nan) if pa.types.is_floating(values.type) else values.cast(pa.float64())
    return np.asarray(numbers.to_numpy(zero_copy_only=False)).reshape(len(column), lengths[0])
