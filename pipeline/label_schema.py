"""What every column of the label table means, and its schema in the languages of others: JSON Schema, Spark."""

from typing import Any

import pyarrow as pa

from pipeline.labels import ACTIONS, LABELS_VERSION, METADATA, NULLABLE, SCHEMA, SPLITS, TOP

MEANINGS = {
    "sample_id": "one row per sample, in dataset order",
    "given_label": "as it came, as a number (null where none)",
    "given_name": "as it came, as a name",
    "suggested_label": "the machine's best answer, before the gate",
    "suggested_name": "the same as a name",
    "purified_label": "the answer puriflow stands for; trusted rows keep their trusted label",
    "purified_name": "the same as a name",
    "action": "keep · relabel · review (trust neither label) · trusted · none (not a train row)",
    "confidence": "calibrated probability that purified_label is right",
    "given_confidence": "calibrated probability that given_label is right",
    "top_labels": "the best classes, at most ten",
    "top_probs": "their calibrated probabilities",
    "neighbour_agreement": "share of the nearest rows that agree",
    "outlier_score": "0 to 1; higher is stranger",
    "duplicate_of": "an earlier row that is a copy, or nearly",
    "split": "train · validation · test",
    "trusted": "whether the true label is known",
    "trusted_origin": "random · selected · unknown",
    "audit": "whether the row was held out as a yardstick",
}
METADATA_MEANINGS = {
    "schema_version": "the version of this contract; within one, columns and metadata are only added",
    "classes": "class names; a label is a position in this list",
    "keys": "keys of the artifacts that the table was made from, and its own",
    "config": "the configuration of the purify stage",
    "noise": "estimated share of wrong given labels, its interval, rates by class, transition matrix",
    "audit": "the gain on trusted rows that the judged fit never saw, with its interval",
    "gate": "whether labels were changed, and why",
}
ALLOWED = {"action": ACTIONS, "split": SPLITS, "trusted_origin": ("random", "selected", "unknown")}
SHARES = frozenset({"confidence", "given_confidence", "neighbour_agreement", "outlier_score"})
SPARK = {pa.string(): "string", pa.int32(): "integer", pa.float32(): "float", pa.bool_(): "boolean"}


def columns() -> list[dict[str, str]]:
    """Describe every column of the label table."""
    return [{"name": f.name, "type": type_name(f.type), "meaning": MEANINGS[f.name]} for f in SCHEMA]


def type_name(kind: pa.DataType) -> str:
    """Name a type in the words of the design."""
    if pa.types.is_dictionary(kind):
        return f"dictionary<{type_name(kind.value_type)}>"
    if pa.types.is_list(kind):
        return f"list<{type_name(kind.value_type)}>"
    return "float32" if kind == pa.float32() else str(kind)


def json_schema() -> dict[str, Any]:
    """Describe a row (as JSON Lines hold it) and the file metadata as one JSON Schema."""
    rows = {field.name: _json_field(field) for field in SCHEMA}
    metadata = {name: {"description": METADATA_MEANINGS[name], **_json_metadata(name)} for name in METADATA}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"puriflow label table, schema version {LABELS_VERSION}",
        "description": "Rows and file metadata (Parquet keys 'puriflow.NAME'). Ignore what you do not know: "
        "within a schema version columns and metadata are only added, never renamed, retyped or removed.",
        "type": "object",
        "properties": {
            "metadata": {"$ref": "#/$defs/metadata"},
            "rows": {"type": "array", "items": {"$ref": "#/$defs/row"}},
        },
        "$defs": {
            "row": {"type": "object", "properties": rows, "required": list(rows)},
            "metadata": {"type": "object", "properties": metadata, "required": list(METADATA)},
        },
    }


def spark_schema() -> dict[str, Any]:
    """Describe the columns as Spark does (`StructType.fromJson`)."""
    fields = [
        {"name": f.name, "type": _spark_type(f.type), "nullable": f.name in NULLABLE,
         "metadata": {"comment": MEANINGS[f.name]}}
        for f in SCHEMA
    ]  # fmt: skip
    return {"type": "struct", "fields": fields}


def _json_field(field: pa.Field) -> dict[str, Any]:
    described: dict[str, Any] = {"description": MEANINGS[field.name], **_json_type(field.type)}
    if field.name in SHARES:
        described |= {"minimum": 0, "maximum": 1}
    if field.name in ALLOWED:
        described["enum"] = [*ALLOWED[field.name]]
    if field.name in NULLABLE:
        described["type"] = [described["type"], "null"]
        if "enum" in described:
            described["enum"].append(None)
    return described


def _json_type(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_dictionary(kind):
        return _json_type(kind.value_type)
    if pa.types.is_list(kind):
        return {"type": "array", "items": _json_type(kind.value_type), "maxItems": TOP}
    if pa.types.is_integer(kind):
        return {"type": "integer", "minimum": 0}
    return {"type": {"string": "string", "bool": "boolean"}.get(str(kind), "number")}


def _json_metadata(name: str) -> dict[str, Any]:
    if name == "schema_version":
        return {"const": LABELS_VERSION}
    return {"type": "array", "items": {"type": "string"}} if name == "classes" else {"type": "object"}


def _spark_type(kind: pa.DataType) -> str | dict[str, Any]:
    if pa.types.is_dictionary(kind):
        return _spark_type(kind.value_type)
    if pa.types.is_list(kind):
        return {"type": "array", "elementType": _spark_type(kind.value_type), "containsNull": False}
    return SPARK[kind]
