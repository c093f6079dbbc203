"""Users' tables: CSV (every value as text) and Parquet, read the same way."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from pipeline.datasets.faults import naming
from pipeline.errors import DataError

PARQUET_SUFFIXES = (".parquet", ".pq")
DELIMITERS = ",;\t"
REMEDY = "Expected: a CSV file in UTF-8 with a header line, or a Parquet file (.parquet)."


def is_parquet(path: Path) -> bool:
    """Tell a Parquet file by its name."""
    return path.suffix.lower() in PARQUET_SUFFIXES


def table_schema(path: Path) -> pa.Schema:
    """Read the columns of a table without its rows (those of a CSV file are all text)."""
    if is_parquet(path):
        return parquet_file(path).schema_arrow
    return pa.schema([(name, pa.string()) for name in _csv_header(path)[0]])


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table, or some of its columns."""
    try:
        if is_parquet(path):
            with parquet_file(path) as file:
                return file.read(columns=None if columns is None else list(columns))
        return _read_csv(path, columns)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        raise DataError(f"table {path} cannot be read: {first_line(error)}.", REMEDY) from error


def parquet_file(path: Path) -> pq.ParquetFile:
    """Open a Parquet file for streaming."""
    try:
        return pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"Parquet file {path} cannot be read: {first_line(error)}.", "Write it again.") from error


def first_line(error: Exception) -> str:
    """Take what matters from a library's message."""
    return str(error).strip().split("\n")[0].rstrip(".")


def _csv_header(path: Path) -> tuple[list[str], str]:
    """Read the names of a CSV file's columns and guess its delimiter from them."""
    try:
        with pa.input_stream(str(path), compression="detect") as stream:
            text = stream.read(1 << 20).decode(
                "utf-8-sig", errors="strict" if path.stat().st_size < 1 << 20 else "replace"
            )
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"table {path} cannot be read: {first_line(error)}.", REMEDY) from error
    line = io.StringIO(text).readline().rstrip("\r\n")
    if not line.strip():
        raise DataError(f"table {path} is empty.", REMEDY)
    counts = {d: len(next(csv.reader([line], delimiter=d))) for d in DELIMITERS}
    delimiter = max(DELIMITERS, key=lambda d: counts[d])
    names = next(csv.reader([line], delimiter=delimiter))
    if len(set(names)) < len(names):
        twice = sorted({n for n in names if names.count(n) > 1})
        raise DataError(f"table {path} has several columns named {naming(twice)}.", "Give every column its own name.")
    return names, delimiter


def _read_csv(path: Path, columns: Sequence[str] | None) -> pa.Table:
    names, delimiter = _csv_header(path)
    with pa.input_stream(str(path), compression="detect") as stream:
        return pa_csv.read_csv(
            stream,
            parse_options=pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), include_columns=list(columns or []),
                null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=True,
            ),
        )  # fmt: skip
