"""The contract of the form: every field says what it is, nothing in it confuses the UI, a dataset is enough."""

import inspect
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from flows.compare import grid_of
from flows.document import CleanRequest, check_document
from flows.service.form import GRID, ORDER, clean_form, compare_form, filled_in, stage_form

LARGEST = 512_000  # bytes of parameters that Prefect takes
FORMS = {"clean": clean_form(), "compare": compare_form(), "stage": stage_form()}
PHOTOS = {"dataset": {"name": "photos", "kind": "image_folder", "path": ["photos"]}}


def fields(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Go through all fields of a form."""
    for name, field in schema.get("properties", {}).items():
        yield f"{path}{name}", field
        yield from fields(field, f"{path}{name}.")


ALL = {f"{form}: {path}": field for form, schema in FORMS.items() for path, field in fields(schema)}
UNBOUNDED = {"exact_rows"}  # as many rows as there are


def test_every_field_has_a_title_a_description_and_a_place() -> None:
    assert len(ALL) > 100
    bare = [p for p, f in ALL.items() if not (f["title"] and len(f["description"]) > 5 and type(f["position"]) is int)]
    assert not bare


def test_every_number_has_bounds() -> None:
    numbers = {p: f for p, f in ALL.items() if f["type"] in ("integer", "number")}
    assert not [p for p, f in numbers.items() if not {"minimum", "exclusiveMinimum"} & set(f)]
    free = [p for p, f in numbers.items() if not {"maximum", "exclusiveMaximum"} & set(f)]
    assert {path.rpartition(".")[2] for path in free} <= UNBOUNDED


def test_no_field_has_a_union_a_reference_or_an_empty_default() -> None:
    assert not [p for p, f in ALL.items() if {"oneOf", "anyOf", "allOf", "$ref", "discriminator"} & set(f)]
    assert not [p for p, f in ALL.items() if f.get("default", ...) in (None, "", [], {}) and f["title"] != "Run"]


def test_fields_stand_in_the_order_of_their_places() -> None:
    for schema in FORMS.values():
        places = [field["position"] for field in schema["properties"].values()]
        assert places == sorted(places)
    assert next(iter(clean_form()["properties"])) == "dataset"


def test_the_form_is_the_document() -> None:
    assert set(clean_form()["properties"]) == set(CleanRequest.model_fields) == set(ORDER)


def test_a_dataset_is_enough() -> None:
    jsonschema.validate(PHOTOS, clean_form())
    assert clean_form()["required"] == ["dataset"]
    assert clean_form()["properties"]["dataset"]["required"] == ["name", "kind"]
    check_document(filled_in(PHOTOS), "the form")


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"dataset": {"name": "photos"}},
        {"dataset": {"name": "Not a name", "kind": "image_folder"}},
        {**PHOTOS, "purify": {"gate": "ajar"}},
        {**PHOTOS, "represent": {"epochs": 0}},
        {**PHOTOS, "unknown": 1},
        {**PHOTOS, "purify": {"unknown": 1}},
    ],
)
def test_what_does_not_fit_is_refused_in_the_form(wrong: dict[str, Any]) -> None:
    schema = {**clean_form(), "additionalProperties": False}
    with pytest.raises(jsonschema.ValidationError, match=r"required|does not match|is not one of|less than|Addition"):
        jsonschema.validate(wrong, schema)


def test_a_comparison_needs_nothing_but_a_dataset() -> None:
    jsonschema.validate(PHOTOS, compare_form())
    grid = {name: field["default"] for name, field in compare_form()["properties"].items() if name in GRID}
    assert grid_of(**grid, first=0)
    with pytest.raises(jsonschema.ValidationError, match="'wishing' is not one of"):
        jsonschema.validate({**PHOTOS, "methods": ["wishing"]}, compare_form())


def test_a_form_whose_boxes_were_only_opened_says_nothing() -> None:
    empty = {
        "trusted": {"path": [], "columns": {"sample_id": "", "given_label": [""]}},
        "class_names": [],
        "root": None,
    }
    said = filled_in({"dataset": {**PHOTOS["dataset"], **empty}, "title": "", "represent": None, "seed": 0})
    assert said == {**PHOTOS, "seed": 0}


def test_sections_without_a_seed_get_that_of_the_document() -> None:
    seeded = [p for p, field in fields(clean_form()) if p.endswith(".seed")]
    assert seeded
    assert not [p for p, field in fields(clean_form()) if p in seeded and "default" in field]
    assert check_document(filled_in({**PHOTOS, "seed": 7, "purify": {"seed": None}}), "the form").purify.seed == 7


def test_parameters_stay_far_below_what_prefect_takes() -> None:
    assert len(CleanRequest.model_validate(PHOTOS).model_dump_json()) < LARGEST / 10


@pytest.mark.slow  # Prefect's import takes seconds
def test_the_flows_take_what_their_forms_say() -> None:
    from flows.clean import clean_dataset
    from flows.service import stages
    from flows.service.compare import compare_methods

    assert set(inspect.signature(compare_methods.fn).parameters) == set(compare_form()["properties"])
    assert compare_methods.parameters.model_dump_for_openapi()["properties"] == compare_form()["properties"]
    assert set(inspect.signature(clean_dataset.fn).parameters) == set(clean_form()["properties"])
    assert clean_dataset.parameters.model_dump_for_openapi()["properties"] == clean_form()["properties"]
    for name in ("ingest", "represent", "embed", "purify", "retrain", "report"):
        flow = getattr(stages, name)
        assert flow.name == name
        assert set(inspect.signature(flow.fn).parameters) == set(stage_form()["properties"])
        assert flow.parameters.model_dump_for_openapi()["properties"] == stage_form()["properties"]
