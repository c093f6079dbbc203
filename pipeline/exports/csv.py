"""CSV: the columns of the label table and the user's own ones behind them; lists are JSON."""

from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from pipeline.exports.jsonl import plain_columns
from pipeline.labelled import Labelled


def write(labelled: Labelled, path: Path) -> list[str]:
    """Write one line per row, every text in quotes."""
    columns = {}
    for name, column in plain_columns(labelled).items():
        if pa.types.is_nested(column.type):
            column = pa.array([None if v is None else as_json(v) for v in column.to_pylist()], pa.string())
        columns[name] = column
    pyarrow.csv.write_csv(pa.table(columns), path)
    return []


def as_json(value: object) -> str:
    """Write a list as JSON, with as many digits as a float32 has."""
    if isinstance(value, list) and all(isinstance(item, int | float) for item in value):
        return "[" + ", ".join(f"{item:.7g}" for item in value) + "]"
    return str(value)
