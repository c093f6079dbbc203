"""JSON Lines: one object per row as `puriflow labels schema --to json-schema` describes it, own columns behind."""

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.labelled import Labelled

CHUNK = 16_384
OWN = "own."  # before the name of a user's column that a column of the table has already


def write(labelled: Labelled, path: Path) -> list[str]:
    """Write one object per line."""
    table = pa.table(plain_columns(labelled))
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, table.num_rows, CHUNK):
            for row in table.slice(start, CHUNK).to_pylist():
                said = {name: plain(value) for name, value in row.items()}
                file.write(json.dumps(said, ensure_ascii=False, allow_nan=False) + "\n")
    return []


def plain_columns(labelled: Labelled) -> dict[str, pa.ChunkedArray]:
    """Lay out the table's columns without dictionaries, and the user's own ones behind them."""
    columns = {}
    for name in labelled.table.column_names:
        column = labelled.table[name]
        columns[name] = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
    own = labelled.own_columns
    if own is not None:
        columns |= {name if name not in columns else OWN + name: own[name] for name in own.column_names}
    return columns


def plain(value: Any) -> Any:
    """Turn a value into what JSON can hold; a float32 keeps the digits that it has."""
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return value if value is None or isinstance(value, str | int | bool) else str(value)
