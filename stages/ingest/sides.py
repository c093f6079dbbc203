"""Side tables: further columns for rows that are named by sample id."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.datasets.config import SideTable
from pipeline.datasets.faults import missing_column, naming, nearest
from pipeline.datasets.sources import expand
from pipeline.datasets.tables import read_table, table_schema
from pipeline.errors import DataError
from stages.ingest.roles import read_roles, role_columns


def read_side(side: SideTable, field: str, needed: str, ids: pa.ChunkedArray) -> pa.Table:
    """Read a side table with one row per sample id, all of which must be samples."""
    pieces = [read_piece(path, side, field, needed) for path in expand(side.path, f"dataset.{field}.path")]
    table = pa.concat_tables(pieces, promote_options="default")
    if needed in table.column_names:  # given labels have numbered columns; any of them may be empty
        table = table.filter(pc.is_valid(table[needed]))
    refuse_strangers(table["sample_id"], ids, field)
    return without_repeats(table, field)


def read_piece(path: Path, side: SideTable, field: str, needed: str) -> pa.Table:
    """Read one file of a side table."""
    where, names = f"dataset.{field} ({path})", table_schema(path).names
    roles = role_columns(side.columns, names, where)
    for role in ("sample_id", needed):
        if role not in roles and f"{role}_1" not in roles:
            raise missing_column(role, names, where, f"{field}.columns.{role}")
    return read_roles(read_table(path, sorted(set(roles.values()))), roles, where)


def refuse_strangers(theirs: pa.ChunkedArray, ids: pa.ChunkedArray, field: str) -> None:
    """Insist that a side table speaks of samples that exist."""
    if theirs.null_count:
        raise DataError(f"{theirs.null_count} rows of dataset.{field} have no sample id.", "Give every row an id.")
    strangers = theirs.filter(pc.invert(pc.is_in(theirs, value_set=ids)))
    if len(strangers):
        near = nearest(str(strangers[0]), ids.slice(0, 10_000).to_pylist())
        raise DataError(
            f"{len(strangers)} of {len(theirs)} ids in dataset.{field} belong to no row: {naming(strangers)}.",
            f"{near} Ids must be equal to the samples' own.",
        )


def without_repeats(table: pa.Table, field: str) -> pa.Table:
    """Drop rows that say the same twice; two that differ are an error."""
    unique = table.group_by(table.column_names, use_threads=False).aggregate([]).select(table.column_names)
    counts = pc.value_counts(unique["sample_id"])
    torn = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    if len(torn):
        shown = table.filter(pc.is_in(table["sample_id"], value_set=torn)).slice(0, 5).to_pylist()
        rows = "; ".join(", ".join(str(v) for v in row.values()) for row in shown)
        raise DataError(
            f"dataset.{field} contradicts itself about {len(torn)} samples: {naming(torn)} ({rows}).",
            "Keep one row for each sample.",
        )
    return unique


def aligned(table: pa.Table, ids: pa.ChunkedArray) -> pa.Table:
    """Put a side table's rows into the order of the samples, null where it says nothing."""
    return table.take(pc.index_in(ids, value_set=table["sample_id"]))
