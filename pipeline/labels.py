"""The label table, schema version 1: one row per sample, in dataset order; readers ignore columns they do not know."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import ContractError

LABELS_VERSION = 1
LABELS_FILE = "labels.parquet"
ACTIONS = ("keep", "relabel", "review", "trusted", "none")
SPLITS = ("train", "validation", "test")
METADATA = ("schema_version", "classes", "keys", "config", "noise", "audit", "gate")
TOP = 10

_NAME = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("given_label", pa.int32()),
        ("given_name", _NAME),
        ("suggested_label", pa.int32()),
        ("suggested_name", _NAME),
        ("purified_label", pa.int32()),
        ("purified_name", _NAME),
        ("action", _NAME),
        ("confidence", pa.float32()),
        ("given_confidence", pa.float32()),
        ("top_labels", pa.list_(pa.int32())),
        ("top_probs", pa.list_(pa.float32())),
        ("neighbour_agreement", pa.float32()),
        ("outlier_score", pa.float32()),
        ("duplicate_of", pa.string()),
        ("split", _NAME),
        ("trusted", pa.bool_()),
        ("trusted_origin", _NAME),
        ("audit", pa.bool_()),
    ]
)
NULLABLE = {"given_label", "given_name", "given_confidence", "neighbour_agreement", "outlier_score"} | {
    "duplicate_of",
    "trusted_origin",
}
_REMEDY = "Run purify again, or name a label table that puriflow wrote."


def label_table(columns: Mapping[str, Any], class_names: Sequence[str]) -> pa.Table:
    """Build the table from plain columns; a label of -1 becomes null, and names are looked up from the labels."""
    arrays = []
    for field in SCHEMA:
        if field.name.endswith("_name"):
            arrays.append(_names(columns[field.name.replace("_name", "_label")], class_names))
        elif field.name.endswith("_label"):
            labels = np.asarray(columns[field.name])
            arrays.append(pa.array(labels, pa.int32(), mask=labels < 0))
        else:
            arrays.append(_column(columns[field.name], field.type))
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def write_labels(path: Path, table: pa.Table, metadata: Mapping[str, Any]) -> None:
    """Check a label table and write it with its file metadata (see METADATA; values are any JSON)."""
    record = {"schema_version": LABELS_VERSION, **metadata}
    missing = [name for name in METADATA if name not in record]
    if missing:
        raise ContractError(f"label table {path.name} lacks the metadata {', '.join(missing)}.", _REMEDY)
    check_labels(table, record["classes"], name=path.name)
    encoded = {f"puriflow.{k}": json.dumps(v, ensure_ascii=False, sort_keys=True) for k, v in record.items()}
    pq.write_table(table.replace_schema_metadata(encoded), path, compression="zstd", row_group_size=131_072)


def read_labels(path: Path) -> pa.Table:
    """Read and check a label table; columns that this version does not know are left out."""
    metadata = read_metadata(path)
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise ContractError(f"label table {path} cannot be read: {error}.", _REMEDY) from error
    known = [name for name in SCHEMA.names if name in table.column_names]
    table = table.select(known)
    check_labels(table, metadata["classes"], name=path.name)
    return table.cast(SCHEMA.with_metadata(table.schema.metadata))


def read_metadata(path: Path) -> dict[str, Any]:
    """Read what the table says about itself: classes, keys, config, noise, audit, gate."""
    try:
        stored = pq.read_metadata(path).metadata or {}
    except (OSError, pa.ArrowException) as error:
        raise ContractError(f"label table {path} cannot be read: {error}.", _REMEDY) from error
    prefix = b"puriflow."
    record = {k.removeprefix(prefix).decode(): json.loads(v) for k, v in stored.items() if k.startswith(prefix)}
    missing = [name for name in METADATA if name not in record]
    if missing:
        raise ContractError(f"label table {path.name} lacks the metadata {', '.join(missing)}.", _REMEDY)
    if record["schema_version"] != LABELS_VERSION:
        raise ContractError(
            f"label table {path.name} has schema version {record['schema_version']}; "
            f"this puriflow reads version {LABELS_VERSION}.",
            "Read it with the puriflow that wrote it, or run purify again.",
        )
    return record


def check_labels(
    table: pa.Table, class_names: Sequence[str], trusted_labels: np.ndarray | None = None, name: str = "labels.parquet"
) -> None:
    """Raise a ContractError unless the table keeps schema version 1 (and the trusted labels, -1 = unknown)."""
    what = f"label table {name}"
    _check_columns(table, what)
    _check_ids(table, what)
    _check_values(table, len(class_names), what)
    _check_probabilities(table, what)
    if trusted_labels is not None:
        _check_trusted(table, trusted_labels, what)


def _names(labels: Any, class_names: Sequence[str]) -> pa.DictionaryArray:
    codes = np.asarray(labels)
    indices = pa.array(codes, pa.int32(), mask=codes < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(class_names, pa.string()))


def _column(values: Any, kind: pa.DataType) -> pa.Array:
    array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if not isinstance(array, pa.Array):
        array = pa.array(array)
    if pa.types.is_dictionary(kind) and not pa.types.is_dictionary(array.type):
        array = array.cast(pa.string()).dictionary_encode()
    return array.cast(kind)


def _check_columns(table: pa.Table, what: str) -> None:
    missing = [n for n in SCHEMA.names if n not in table.column_names]
    if missing:
        raise ContractError(f"{what} lacks the column(s) {', '.join(missing)}.", _REMEDY)
    for field in SCHEMA:
        found, expected = table.schema.field(field.name).type, field.type
        if _plain(found) != _plain(expected):
            raise ContractError(f"{what} has '{field.name}' as {found}; expected {expected}.", _REMEDY)
        nulls = table[field.name].null_count
        if nulls and field.name not in NULLABLE:
            raise ContractError(f"{what} has no {field.name} in {nulls} of {len(table)} rows.", _REMEDY)


def _plain(kind: pa.DataType) -> pa.DataType:
    """Take the value type of a dictionary, and the plain form of strings and lists, as other writers store them."""
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_large_string(kind):
        return pa.string()
    return pa.list_(kind.value_type) if pa.types.is_list(kind) or pa.types.is_large_list(kind) else kind


def _check_ids(table: pa.Table, what: str) -> None:
    counts = pc.value_counts(table["sample_id"])
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(repeated):
        raise ContractError(
            f"{what} repeats {len(repeated)} of {len(table)} sample ids (first: '{repeated[0]['values']}'); "
            "each sample must have exactly one row.",
            _REMEDY,
        )


def _check_values(table: pa.Table, classes: int, what: str) -> None:
    for column, allowed in (("action", ACTIONS), ("split", SPLITS)):
        unknown = set(pc.unique(table[column].cast(pa.string())).to_pylist()) - set(allowed)
        if unknown:
            raise ContractError(f"{what} has the {column} '{min(unknown)}'; allowed: {', '.join(allowed)}.", _REMEDY)
    for column in ("given_label", "suggested_label", "purified_label"):
        outside = pc.or_(pc.less(table[column], 0), pc.greater_equal(table[column], classes))
        count = pc.sum(outside).as_py() or 0
        if count:
            raise ContractError(f"{what} has {count} {column}(s) outside 0..{classes - 1}.", _REMEDY)
    untrusted = pc.and_(pc.equal(table["action"].cast(pa.string()), "trusted"), pc.invert(table["trusted"]))
    if pc.any(untrusted).as_py():
        raise ContractError(f"{what} has action 'trusted' in rows that are not trusted.", _REMEDY)


def _check_probabilities(table: pa.Table, what: str) -> None:
    columns = {n: table[n].combine_chunks() for n in ("confidence", "given_confidence", "top_probs")}
    columns["top_probs"] = pc.list_flatten(columns["top_probs"])
    for column, values in columns.items():
        numbers = values.drop_null().to_numpy(zero_copy_only=False)
        bad = int(np.count_nonzero(~((numbers >= 0) & (numbers <= 1))))
        if bad:
            raise ContractError(f"{what} has {bad} value(s) of {column} that are no probability (0 to 1).", _REMEDY)
    if not pc.all(
        pc.equal(pc.list_value_length(table["top_labels"]), pc.list_value_length(table["top_probs"]))
    ).as_py():
        raise ContractError(f"{what} has rows with more top_labels than top_probs, or fewer.", _REMEDY)


def _check_trusted(table: pa.Table, trusted_labels: np.ndarray, what: str) -> None:
    if len(trusted_labels) != len(table):
        raise ContractError(f"{what} has {len(table)} rows; the annotations have {len(trusted_labels)}.", _REMEDY)
    purified = table["purified_label"].to_numpy()
    audit = table["audit"].to_numpy(zero_copy_only=False)
    changed = (trusted_labels >= 0) & ~audit & (purified != trusted_labels)
    if changed.any():
        first = table["sample_id"][int(np.argmax(changed))]
        raise ContractError(f"{what} changes {int(changed.sum())} trusted label(s) (first: '{first}').", _REMEDY)
