"""The reference of all knobs, docs/configuration.md, written from the configuration classes themselves: `make docs`."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from flows.document import CleanRequest
from flows.faults import sub_model

HEAD = """\
# Every knob

One YAML document describes a cleaning run; only `dataset` must be there. This page is made from the code (`make docs`).
What is written here is also the form in the Prefect UI. `--set section.key=value` lays a value over the file,
`--profile quick|standard|thorough|photos` puts defaults under it. Options of methods that are not chosen are checked,
but change nothing.
"""


def reference() -> str:
    """Write the whole page."""
    return HEAD + "".join(section("", CleanRequest, "The document", {}))


def section(path: str, model: type[BaseModel], title: str, seen: dict[type[BaseModel], str]) -> Iterator[str]:
    """Write one table for a model, then those of the models in it; a model that stands above is only named."""
    if model in seen:
        yield f"\n## `{path}`: {title}\n\nThe same keys as `{seen[model]}`.\n"
        return
    seen[model] = path
    yield f"\n## {f'`{path}`: ' if path else ''}{title}\n\n{(model.__doc__ or '').splitlines()[0]}\n"
    plain = {n: f for n, f in model.model_fields.items() if sub_model(f.annotation) is None}
    if plain:
        yield "\n| key | default | allowed | what it does |\n|---|---|---|---|\n"
        yield from (row(name, field) for name, field in plain.items())
    for name, field in model.model_fields.items():
        below = sub_model(field.annotation)
        if below is not None:
            yield from section(f"{path}.{name}" if path else name, below, field.description or name, seen)


def row(name: str, field: FieldInfo) -> str:
    """Write one knob as a row."""
    default = "required" if field.is_required() else f"`{json.dumps(default_of(field), ensure_ascii=False)}`"
    return f"| `{name}` | {default} | {cell(allowed(field))} | {cell(field.description or '')} |\n"


def default_of(field: FieldInfo) -> Any:
    """Return a default as JSON would have it."""
    value = field.get_default(call_default_factory=True)
    return None if value is PydanticUndefined else value


def allowed(field: FieldInfo) -> str:
    """Say which values are allowed."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(field.annotation))
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "multiple_of": "multiple of"}
    bounds = [f"{sign} {getattr(m, key)}" for m in field.metadata for key, sign in signs.items() if hasattr(m, key)]
    return ", ".join(bounds) or type_name(field.annotation)


def type_name(annotation: Any) -> str:
    """Name a type in a user's words."""
    words = {str: "text", bool: "yes or no", int: "whole number", float: "number", type(None): "null"}
    if get_origin(annotation) is Annotated:
        return type_name(get_args(annotation)[0])
    parts = [a for a in get_args(annotation) if a is not Ellipsis]
    if get_origin(annotation) is tuple:
        return f"list of {type_name(parts[0])}"
    return words.get(annotation) or " or ".join(type_name(part) for part in parts) or "any"


def cell(text: str) -> str:
    """Keep a table's bars whole."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(), encoding="utf-8")
