"""Say what is wrong in a configuration: one line a fault with path, value, what is allowed, the nearest match."""

from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails


def explain(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Write one line for each fault of a document that was checked against a model."""
    return [explain_one(detail, model) for detail in error.errors(include_url=False)]


def explain_one(detail: ErrorDetails, model: type[BaseModel]) -> str:
    """Write one fault as a line."""
    path = ".".join(str(part) for part in detail["loc"]) or "document"
    value = repr(detail["input"])
    shown = value if len(value) <= 60 else value[:57] + "..."
    context = detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            allowed = keys_at(model, detail["loc"][:-1])
            return f"{path}: unknown key{nearest(str(detail['loc'][-1]), allowed)}; allowed: {', '.join(allowed)}"
        case "missing":
            return f"{path}: is missing{hint_of(model, detail['loc'])}"
        case "literal_error":
            allowed = [part.strip().strip("'") for part in str(context["expected"]).replace(" or ", ", ").split(",")]
            return f"{path} = {shown}: must be one of {', '.join(allowed)}{nearest(str(detail['input']), allowed)}"
        case "value_error":
            said = str(context.get("error", detail["msg"]))
            return said if said.startswith(f"{path}.") else f"{path}: {said}"
        case "model_type" | "model_attributes_type":
            allowed = keys_at(model, detail["loc"])
            return f"{path} = {shown}: must be a section with {', '.join(allowed)}" + example_of(detail, allowed)
        case _:
            message = detail["msg"][0].lower() + detail["msg"][1:]
            return f"{path} = {shown}: {message}"


def example_of(detail: ErrorDetails, allowed: list[str]) -> str:
    """Show how a section is written that was given as its path alone."""
    return f", such as {{path: {detail['input']}}}" if isinstance(detail["input"], str) and "path" in allowed else ""


def nearest(word: str, allowed: list[str]) -> str:
    """Name the allowed word that was probably meant."""
    found = get_close_matches(word, allowed, n=1, cutoff=0.6)
    return f" (did you mean '{found[0]}'?)" if found else ""


def model_at(model: type[BaseModel], path: tuple[int | str, ...]) -> type[BaseModel] | None:
    """Follow a path of keys to the model that stands there."""
    here: type[BaseModel] | None = model
    for part in path:
        field = here.model_fields.get(str(part)) if here else None
        here = sub_model(field.annotation) if field else None
    return here


def sub_model(annotation: Any) -> type[BaseModel] | None:
    """Find the model in an annotation such as `Model` or `Model | None`."""
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def keys_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """List the keys that are allowed at a path."""
    found = model_at(model, path)
    return list(found.model_fields) if found else []


def hint_of(model: type[BaseModel], path: tuple[int | str, ...]) -> str:
    """Describe the field at a path in its own words."""
    holder = model_at(model, path[:-1])
    field = holder.model_fields.get(str(path[-1])) if holder else None
    return f" ({field.description})" if field and field.description else ""
