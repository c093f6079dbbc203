"""The form in the Prefect UI: the document's own schema, in the shape that the UI shows well."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import TypeAdapter

from flows.compare import LABELS
from flows.document import SEEDED, CleanRequest
from stages.retrain.config import VERSIONS

ORDER = ("dataset", "title", "represent", "embed", "purify", "retrain", "report", "publish", "seed")
FIRST = ("name", "kind", "path", "columns", "trusted", "table", "features", "class_names")  # what most datasets need
RUN_FIELD = {
    "title": "Run",
    "description": "Work on the artifacts of this earlier run (the id in its summary), with its document where "
    "the form holds none; empty: on those that fit the document",
    "type": "string",
    "default": "",
    "maxLength": 80,
}
GRID: dict[str, dict[str, Any]] = {  # of a comparison
    "methods": {
        "title": "Methods",
        "description": "Methods of retrain to train side by side",
        "type": "array",
        "items": {"type": "string", "enum": list(VERSIONS)},
        "uniqueItems": True,
        "default": ["cross_entropy", "elr"],
    },
    "labels": {
        "title": "Labels",
        "description": "What to train each of them on",
        "type": "array",
        "items": {"type": "string", "enum": list(LABELS)},
        "uniqueItems": True,
        "default": list(LABELS),
    },
    "seeds": {
        "title": "Seeds",
        "description": "How often to train each, with other seeds",
        "type": "integer",
        "minimum": 1,
        "maximum": 100,
        "default": 3,
    },
}
SECTION_SEED = {"description": "Empty: the seed of the document", "position": 1000}
NOTHING: tuple[Any, ...] = (None, "", [], {})


def clean_form() -> dict[str, Any]:
    """Describe the parameters of the whole recipe."""
    return form({name: CleanRequest.model_fields[name] for name in ORDER}, required=["dataset"])


def stage_form() -> dict[str, Any]:
    """Describe the parameters of one stage: the same document, or a run that has it."""
    made = form({name: CleanRequest.model_fields[name] for name in ORDER}, required=[])
    made["properties"]["run"] = {**RUN_FIELD, "position": len(ORDER)}
    return made


def compare_form() -> dict[str, Any]:
    """Describe the parameters of a comparison: the document up to retrain, and the grid."""
    kept = {name: CleanRequest.model_fields[name] for name in ORDER if name not in ("report", "publish")}
    made = form(kept, required=["dataset"])
    boxes = made["properties"]
    made["properties"] = placed({"dataset": boxes["dataset"], **GRID, **boxes})
    return made


PARENTS = {  # entrypoint → name of the flow, its form; all others are stages
    "flows.clean.clean_dataset": ("clean-dataset", clean_form),
    "flows.service.compare.compare_methods": ("compare-methods", compare_form),
}


def flow_and_form(entry: dict[str, Any]) -> tuple[str, Callable[[], dict[str, Any]]]:
    """Name the flow of a deployment, and what writes its form, without importing it."""
    entrypoint = str(entry["entrypoint"])
    return PARENTS.get(entrypoint, (entrypoint.rpartition(".")[2], stage_form))


def form(fields: Mapping[str, Any], required: list[str]) -> dict[str, Any]:
    """Write the schema that a deployment carries: nothing to look up, no unions, every field in its place."""
    whole = TypeAdapter(CleanRequest).json_schema()
    shown = {name: simple(whole["properties"][name], whole["$defs"]) for name in fields}
    boxes = shown["dataset"]["properties"]
    shown["dataset"]["properties"] = placed({name: boxes[name] for name in dict.fromkeys((*FIRST, *boxes))})
    for name in shown:
        if name in SEEDED and "seed" in shown[name]["properties"]:
            shown[name]["properties"]["seed"] |= SECTION_SEED
            shown[name]["properties"]["seed"].pop("default", None)
    return {"title": "Parameters", "type": "object", "properties": placed(shown), "required": required}


def simple(field: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Write one field without references and without `or null`: what is left empty is absent."""
    field = dict(field)
    if "$ref" in field:
        field = {**known[field.pop("$ref").rpartition("/")[2]], **field}
    if "anyOf" in field:
        parts = [part for part in field.pop("anyOf") if part.get("type") != "null"]
        field = {**simple(parts[0], known), **field}
    if field.get("default", ...) in NOTHING:
        field.pop("default", None)
    field.pop("key", None)
    if "description" in field:
        field["description"] = field["description"].replace("null", "empty").replace("None:", "empty:")
    if "properties" in field:
        field["properties"] = placed({name: simple(part, known) for name, part in field["properties"].items()})
    if "items" in field:
        field["items"] = simple(field["items"], known)
    return field


def placed(fields: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Give every field its place; the UI sorts by it."""
    return {name: {**field, "position": number} for number, (name, field) in enumerate(fields.items())}


def filled_in(document: Mapping[str, Any]) -> dict[str, Any]:
    """Take from a form what somebody filled in: empty texts, lists and boxes are absent."""
    kept = {name: without_blanks(value) for name, value in document.items()}
    return {name: value for name, value in kept.items() if value not in NOTHING}


def without_blanks(value: Any) -> Any:
    """Leave out what is empty inside a box or a list."""
    if isinstance(value, Mapping):
        return filled_in(value)
    if isinstance(value, list | tuple):
        return [without_blanks(part) for part in value if part not in NOTHING]
    return value
