"""What every configuration object of puriflow is: frozen, strict about unknown keys, hashed as validated."""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError


class Config(BaseModel):
    """A frozen record that refuses unknown keys; equal content means equal hash and equal key."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)


class StageConfig(Config):
    """The knobs of one stage: `method`, shared knobs, and one flat sub-model per method, named like the method."""

    def chosen_method(self) -> str:
        """Name the method that runs ('' for a stage that has only one)."""
        return str(getattr(self, "method", ""))

    def identity(self) -> dict[str, Any]:
        """Return the part of the configuration that decides the output.

        The options of unchosen methods do not count, nor do fields marked `json_schema_extra={"key": False}`; those
        marked `{"key": "changed"}` count where they differ from their default, so that they could be added later.
        """
        method = self.chosen_method()
        result: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            extra = field.json_schema_extra
            counts = extra.get("key", True) if isinstance(extra, dict) else True
            if counts is False or (counts == "changed" and value == field.default):
                continue
            if isinstance(value, MethodOptions) and name != method:
                continue
            result[name] = counted(value) if isinstance(value, Config) else value
        return result


def counted(options: Config) -> dict[str, Any]:
    """Return the part of some options that decides the output."""
    extras = {name: field.json_schema_extra for name, field in type(options).model_fields.items()}
    free = {name for name, extra in extras.items() if isinstance(extra, dict) and extra.get("key") is False}
    return options.model_dump(mode="json", exclude=free)


class MethodOptions(Config):
    """The options of one method: counted in the key only where that method is chosen."""


def describe_faults(error: ValidationError) -> str:
    """Say in one line what does not fit, and where."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'all of it'}: {fault['msg']}" for fault in faults)
