"""A Hugging Face dataset for `load_dataset(FOLDER)`: data/SPLIT-*.parquet with Image and ClassLabel, and a card."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.exports.jsonl import OWN
from pipeline.exports.pictures import safe_name, suffix
from pipeline.labelled import Labelled
from pipeline.labels import SPLITS

CHUNK = 1024
FILE_ROWS = 50_000
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
LABELS = {"label": "purified_label", "given_label": "given_label", "suggested_label": "suggested_label"}
OTHERS = ("action", "confidence", "given_confidence", "top_labels", "top_probs", "trusted")


def write(labelled: Labelled, folder: Path) -> list[str]:
    """Write one Parquet file or several for each split that has rows."""
    (folder / "data").mkdir(parents=True)
    splits = np.asarray(labelled.words("split"), dtype=np.str_)
    written = [split for split in SPLITS if (splits == split).any()]
    for split in written:
        rows = labelled.take(splits == split)
        count = -(-len(rows) // FILE_ROWS)
        for number in range(count):
            place = np.arange(len(rows)) // FILE_ROWS == number
            name = f"{split}-{number:05d}-of-{count:05d}.parquet"
            write_file(rows.take(place), folder / "data" / name)
    (folder / "README.md").write_text(card(labelled, written), encoding="utf-8")
    return []


def write_file(rows: Labelled, path: Path) -> None:
    """Write rows chunk by chunk: images are not held."""
    schema = schema_of(rows)
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        for start in range(0, len(rows), CHUNK):
            place = np.zeros(len(rows), dtype=np.bool_)
            place[start : start + CHUNK] = True
            file.write_table(chunk_of(rows.take(place), schema))


def chunk_of(rows: Labelled, schema: pa.Schema) -> pa.Table:
    """Lay out some rows."""
    columns: dict[str, Any] = {"sample_id": rows.table["sample_id"]}
    if rows.images is not None:
        columns["image"] = pa.array(list(encoded(rows)), IMAGE)
    columns |= {name: rows.table[source].cast(pa.int64()) for name, source in LABELS.items()}
    columns |= {name: rows.table[name] for name in OTHERS}
    own = rows.own_columns
    if own is not None:
        columns |= {field_name(name, columns): own[name] for name in own.column_names}
    return pa.table({name: columns[name] for name in schema.names}).cast(schema)


def encoded(rows: Labelled) -> Iterator[dict[str, Any] | None]:
    """Go through the images as the Image feature holds them, None where a row has none."""
    images, ids = rows.images, rows.words("sample_id")
    for place, row in enumerate(rows.rows.tolist()):
        data = images.read(row) if images is not None and images.ok[row] else None
        yield None if data is None else {"bytes": data, "path": f"{safe_name(str(ids[place]))}.{suffix(data)}"}


def schema_of(rows: Labelled) -> pa.Schema:
    """Choose the columns' types, and tell `datasets` what they mean."""
    fields = [pa.field("sample_id", pa.string())]
    features: dict[str, Any] = {"sample_id": value("string")}
    if rows.images is not None:
        fields.append(pa.field("image", IMAGE))
        features["image"] = {"_type": "Image"}
    for name in LABELS:
        fields.append(pa.field(name, pa.int64()))
        features[name] = {"names": rows.classes, "_type": "ClassLabel"}
    types = {"action": pa.string(), "trusted": pa.bool_()}
    for name in OTHERS:
        kind = types.get(name, rows.table.schema.field(name).type)
        fields.append(pa.field(name, kind))
        features[name] = feature_of(kind)
    own = rows.own_columns
    if own is not None:
        fields += [pa.field(field_name(field.name, features), field.type) for field in own.schema]
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def field_name(name: str, taken: Any) -> str:
    """Name a user's own column beside the others."""
    return OWN + name if name in taken else name


def feature_of(kind: pa.DataType) -> dict[str, Any]:
    """Describe a type as `datasets` does."""
    if pa.types.is_list(kind):
        return {"feature": feature_of(kind.value_type), "_type": "List"}
    return value({"float": "float32", "double": "float64"}.get(str(kind), str(kind)))


def value(dtype: str) -> dict[str, str]:
    """Describe a plain value."""
    return {"dtype": dtype, "_type": "Value"}


def card(labelled: Labelled, splits: list[str]) -> str:
    """Write the card that `load_dataset` and a person read."""
    files = "\n".join(f"  - split: {split}\n    path: data/{split}-*.parquet" for split in splits)
    gate = labelled.metadata["gate"]
    return (
        f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}\n---\n\n"
        f"Labels purified by puriflow (label table {labelled.key or 'of unknown key'}, "
        f"gate {gate.get('verdict', 'unknown')}). `label` is the purified label, `given_label` the one that came, "
        "`confidence` the calibrated probability that `label` is right.\n"
    )
