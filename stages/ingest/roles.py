"""Which column of a user's table plays which role; every role is read as text, whatever it was stored as."""

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.datasets.config import Columns
from pipeline.datasets.faults import missing_column, naming
from pipeline.errors import DataError

PANDAS_INDEX = "__index_level_"
SINGLE_ROLES = ("sample_id", "trusted_label", "trusted_origin", "propensity", "split")


def role_columns(columns: Columns, names: list[str], where: str) -> dict[str, str]:
    """Map role → column: those the user named, which must be there, and those named like their role."""
    found = {}
    for role in SINGLE_ROLES:
        said = getattr(columns, role)
        if said is not None and said not in names:
            raise missing_column(said, names, where, f"columns.{role}")
        if said is not None or role in names:
            found[role] = said or role
    given = columns.given_label or (("given_label",) if "given_label" in names else ())
    for number, name in enumerate(given, start=1):
        if name not in names:
            raise missing_column(name, names, where, "columns.given_label")
        found[f"given_label_{number}"] = name
    return found


def read_roles(table: pa.Table, roles: dict[str, str], where: str, source: pa.Array | None = None) -> pa.Table:
    """Take the roles out of a table, as text; rows without ids are called by their source."""
    named = {} if source is None else {"sample_id": source}
    return pa.table(named | {role: as_text(table[name], name, where) for role, name in roles.items()})


def as_text(column: pa.ChunkedArray, name: str, where: str) -> pa.ChunkedArray:
    """Write any column as text: 3 and 3.0 become '3'; empty text and NaN become null."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return as_text(column.cast(kind.value_type), name, where)
    if pa.types.is_floating(kind):
        column = pc.if_else(pc.is_nan(column), None, column)
    try:
        text = column.cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise DataError(f"column '{name}' of {where} holds {kind}.", "Expected: text or numbers.") from error
    return pc.if_else(pc.equal(text, ""), None, text)


def own_columns(table: pa.Table, used: Iterable[str], text_only: bool) -> pa.Table | None:
    """Keep the columns that play no role; those of a CSV file become numbers where all their values are."""
    taken = {*used, "sample_id"}
    left = [
        field.name
        for field in table.schema
        if field.name not in taken and not is_heavy(field.type) and not field.name.startswith(PANDAS_INDEX)
    ]
    if not left:
        return None
    return pa.table({name: as_numbers(table[name]) if text_only else table[name] for name in left})


def is_heavy(kind: pa.DataType) -> bool:
    """Tell a column of embedded files."""
    if pa.types.is_struct(kind):
        return any(is_heavy(kind.field(i).type) for i in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def as_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Read a column of text as whole numbers or numbers, where that loses nothing."""
    if column.null_count == len(column):
        return column
    try:
        whole = column.cast(pa.int64())
        return whole if whole.cast(pa.string()).equals(column) else column
    except pa.ArrowInvalid:
        pass
    try:
        return column.cast(pa.float64())
    except pa.ArrowInvalid:
        return column


def refuse_bad_ids(ids: pa.ChunkedArray) -> None:
    """Insist that every sample has one id of its own."""
    if ids.null_count:
        rows = pc.indices_nonzero(pc.is_null(ids)).to_pylist()
        raise DataError(f"{len(rows)} rows have no sample id (rows {naming(rows)}).", "Give every row an id.")
    counts = pc.value_counts(ids)
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(repeated):
        raise DataError(
            f"{len(repeated)} sample ids repeat among {len(ids)} rows: {naming(repeated.field('values'))}.",
            "Every sample needs its own id: name another dataset.columns.sample_id.",
        )
