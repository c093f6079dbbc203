import json
from pathlib import Path

import jsonschema

from pipeline.label_schema import columns, json_schema, spark_schema
from pipeline.labels import METADATA, SCHEMA

PAGE = Path(__file__).parents[2] / "docs" / "label-table.schema.json"


def test_the_schema_in_the_docs_is_todays() -> None:
    assert json.loads(PAGE.read_text(encoding="utf-8")) == json_schema(), (
        "write it again: puriflow labels schema --to json-schema > docs/label-table.schema.json"
    )


def test_the_schema_is_a_schema_of_every_column_and_every_piece_of_metadata() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert list(schema["$defs"]["row"]["properties"]) == SCHEMA.names
    assert list(schema["$defs"]["metadata"]["properties"]) == list(METADATA)
    assert [column["name"] for column in columns()] == SCHEMA.names


def test_spark_gets_plain_types() -> None:
    fields = {field["name"]: field for field in spark_schema()["fields"]}
    assert fields["given_name"]["type"] == "string"
    assert fields["top_probs"]["type"] == {"type": "array", "elementType": "float", "containsNull": False}
    assert (fields["given_label"]["nullable"], fields["purified_label"]["nullable"]) == (True, False)
