"""Kinds table and parquet: rows of a CSV or Parquet file, with image paths or embedded images."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.datasets.config import DatasetConfig
from pipeline.datasets.files import Files, referenced
from pipeline.datasets.sources import base_folder, groups, image_root, path_column
from pipeline.datasets.tables import is_parquet, parquet_file, read_table, table_schema
from pipeline.errors import DataError
from stages.ingest.roles import is_heavy, own_columns, read_roles, role_columns
from stages.ingest.samples import Blobs, Pack, Samples

BATCH_BYTES = 8 << 20
BATCH_ROWS = 512


def read_rows(config: DatasetConfig, roots: list[str]) -> Samples:
    """Read the rows of all files of a dataset, in order."""
    base = base_folder(config)
    pieces = [read_file(path, group.split, config, base, roots) for group in groups(config) for path in group.paths]
    return join(pieces, base)


def read_file(path: Path, split: str, config: DatasetConfig, base: str, roots: list[str]) -> Samples:
    """Read the rows of one file; embedded images stay where they are."""
    if path.is_dir():
        raise DataError(f"{path} is a folder; kind {config.kind} needs files.", "Name them, or `folder/*.parquet`.")
    column = config.columns.image or "image"
    by_path = path_column(path, config) is not None
    schema = table_schema(path)
    light = [f.name for f in schema if not is_heavy(f.type) and (by_path or f.name != column)]
    roles = role_columns(config.columns, schema.names, f"table {path}")
    table = read_table(path, light)
    uri = os.path.relpath(Path(os.path.realpath(path.parent)) / path.name, base)
    pictures: Files | list[Pack]
    if by_path:
        pictures = referenced(table[column].cast(pa.string()), image_root(path, config), base, roots)
        source = pa.array(pictures.uri, pa.string())
    else:
        pictures = [pack(path, uri, column)]
        source = numbered(uri, pictures[0].rows)
    texts = read_roles(table, roles, f"table {path}", source)
    warnings = [] if by_path or "sample_id" in roles else [unnamed(uri)]
    own = own_columns(table, [*roles.values(), column], text_only=not is_parquet(path))
    return Samples(with_split(texts, split), source, pictures, own=own, warnings=warnings)


def unnamed(uri: str) -> str:
    """Warn of rows without ids of their own."""
    return f"no column of sample ids: they are '{uri}:0' and so on, and change when rows move"


def with_split(roles: pa.Table, split: str) -> pa.Table:
    """Fill in the split that the rows' path says."""
    if not split:
        return roles
    said = roles["split"] if "split" in roles.column_names else pa.nulls(roles.num_rows, pa.string())
    rest = roles.drop_columns(["split"]) if "split" in roles.column_names else roles
    return rest.append_column("split", pc.fill_null(said, split))


def numbered(uri: str, rows: int) -> pa.Array:
    """Name rows by their file and number."""
    return pc.binary_join_element_wise(uri, pa.array(np.arange(rows)).cast(pa.string()), ":")


def join(pieces: list[Samples], base: str) -> Samples:
    """Put the rows of several files one after the other."""
    kinds = {type(piece.pictures) for piece in pieces}
    if len(kinds) > 1:
        raise DataError("some tables hold image paths and others embedded images.", "Make one dataset of each kind.")
    files = [p.pictures for p in pieces if isinstance(p.pictures, Files)]
    packs = [pack for p in pieces if isinstance(p.pictures, list) for pack in p.pictures]
    listed = Files(
        base, [uri for f in files for uri in f.uri],
        np.concatenate([np.empty(0, np.int64), *(f.size for f in files)]),
        np.concatenate([np.empty(0, np.int64), *(f.mtime for f in files)]),
    )  # fmt: skip
    own = [p.own if p.own is not None else empty_rows(len(p)) for p in pieces]
    return Samples(
        roles=pa.concat_tables([p.roles for p in pieces], promote_options="default"),
        source=pa.concat_arrays([p.source for p in pieces]),
        pictures=listed if files else packs,
        own=pa.concat_tables(own, promote_options="permissive") if any(p.own is not None for p in pieces) else None,
        warnings=[w for p in pieces for w in p.warnings],
    )


def empty_rows(rows: int) -> pa.Table:
    """Make a table of rows without own columns."""
    return pa.table({"": pa.nulls(rows)}).select([])


def pack(path: Path, uri: str, column: str) -> Pack:
    """Describe the images embedded in a Parquet file."""
    status = path.stat()
    with parquet_file(path) as file:
        rows, kind = file.metadata.num_rows, file.schema_arrow.field(column).type
        if not is_heavy(kind):
            raise DataError(
                f"column '{column}' of {path} holds {kind}.",
                "Expected: image paths (text), embedded images (binary), or struct<bytes, path>.",
            )
        size = sum(
            file.metadata.row_group(g).column(c).total_uncompressed_size
            for g in range(file.metadata.num_row_groups)
            for c in range(file.metadata.num_columns)
            if file.metadata.row_group(g).column(c).path_in_schema.split(".")[0] == column
        )
    batch = int(min(BATCH_ROWS, max(1, BATCH_BYTES // max(1, size // max(1, rows)))))
    return Pack(f"{uri}#{column}", status.st_size, status.st_mtime_ns, rows, lambda: embedded(path, column, batch))


def embedded(path: Path, column: str, batch: int) -> Iterator[Blobs]:
    """Go through the encoded images of a Parquet file without reading it whole."""
    with parquet_file(path) as file:
        for record in file.iter_batches(batch_size=batch, columns=[column]):
            values = record.column(0)
            if pa.types.is_struct(values.type):
                field = next(f.name for f in values.type if is_heavy(f.type))
                values = pc.struct_field(values, "bytes" if values.type.get_field_index("bytes") >= 0 else field)
            yield values.to_pylist()
