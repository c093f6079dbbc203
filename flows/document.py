"""The one document that describes a cleaning run: the YAML file, the form in the UI, the parameters of every flow."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from flows.faults import explain
from pipeline.config import Config
from pipeline.errors import ConfigError
from stages.embed.config import EmbedConfig
from stages.ingest.config import DatasetConfig
from stages.purify.config import PurifyConfig
from stages.report.config import ReportConfig
from stages.represent.config import RepresentConfig
from stages.retrain.config import RetrainConfig

SEEDS = 2**31
SEEDED = ("represent", "embed", "purify", "retrain", "report")
PROFILES = Path(__file__).with_name("profiles")


class PublishConfig(Config):
    """Whether the label table becomes the dataset's newest published version."""

    enabled: bool = Field(False, title="Publish", description="Make the label table the newest version of the dataset")
    force: bool = Field(
        False,
        title="Force",
        description="Publish even what was rolled back, or a table that knows older annotations than the published one",
    )


class CleanRequest(Config):
    """Everything that one cleaning run is told."""

    title: str = Field("", max_length=300, title="Title", description="Free text shown in the report")
    seed: int = Field(0, ge=0, lt=SEEDS, title="Seed", description="Seed of every stage that names none of its own")
    dataset: DatasetConfig = Field(title="Dataset", description="Where rows, labels and trusted labels come from")
    represent: RepresentConfig = Field(
        default_factory=RepresentConfig, title="Represent", description="Learn features without labels"
    )
    embed: EmbedConfig = Field(default_factory=EmbedConfig, title="Embed", description="Features and neighbours")
    purify: PurifyConfig = Field(default_factory=PurifyConfig, title="Purify", description="Correct the labels")
    retrain: RetrainConfig = Field(default_factory=RetrainConfig, title="Retrain", description="Train on the result")
    report: ReportConfig = Field(default_factory=ReportConfig, title="Report", description="The page to look at")
    publish: PublishConfig = Field(default_factory=PublishConfig, title="Publish", description="Versions for readers")

    @model_validator(mode="before")
    @classmethod
    def spread_the_seed(cls, document: Any) -> Any:
        """Give the document's seed to every stage that names none of its own; null means absent."""
        document = without_nulls(document)
        seed = document.get("seed", 0) if isinstance(document, dict) else None
        if not isinstance(seed, int) or not 0 <= seed < SEEDS:  # a fault of its own, to be told once
            return document
        filled = dict(document)
        for name in SEEDED:
            section = document.get(name) or {}
            if isinstance(section, dict) and "seed" in cls.model_fields[name].annotation.model_fields:  # type: ignore[union-attr]
                filled[name] = {"seed": seed, **section}
        return filled

    def resolved(self, folder: Path) -> Self:
        """Make every relative path absolute from a folder."""
        sections = {name: getattr(self, name).resolved(folder) for name in ("dataset", "represent", "retrain")}
        return self.model_copy(update=sections)


def load_document(path: Path, settings: Sequence[str] = (), profile: str = "") -> CleanRequest:
    """Read a YAML file over a profile, lay `--set a.b=value` over both, and check the whole."""
    document = merge(read_profile(profile), read_yaml(path))
    for setting in settings:
        document = merge(document, parse_setting(setting))
    request = check_document(document, str(path))
    return request.resolved(path.absolute().parent)


def check_document(document: dict[str, Any], source: str) -> CleanRequest:
    """Validate a document; say every fault in a line of its own."""
    try:
        return CleanRequest.model_validate(document)
    except ValidationError as error:
        lines = "\n".join(f"  {line}" for line in explain(error, CleanRequest))
        raise ConfigError(f"{source} does not fit:\n{lines}", "\nMend these lines and run again.") from error


def without_nulls(value: Any) -> Any:
    """Leave out every key without a value."""
    if not isinstance(value, dict):
        return value
    return {key: without_nulls(below) for key, below in value.items() if below is not None}


def read_profile(name: str) -> dict[str, Any]:
    """Read the defaults that a profile sets."""
    if not name:
        return {}
    path = PROFILES / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in PROFILES.glob("*.yaml")))
        raise ConfigError(f"there is no profile '{name}'.", f"Choose one of: {known}.")
    return read_yaml(path)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping; refuse repeated keys, which YAML would silently drop."""
    try:
        document = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=StrictLoader)
    except FileNotFoundError as error:
        raise ConfigError(f"there is no file {path}.", "`puriflow init FOLDER` writes one to start from.") from error
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise ConfigError(f"{path} cannot be read: {why}.", "Name a YAML file.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {explain_yaml(error)}.", "Mend it and run again.") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path} holds no sections.", "Start from `puriflow init FOLDER`.")
    return document


def explain_yaml(error: yaml.YAMLError) -> str:
    """Say where a text stops being YAML, and why."""
    mark = getattr(error, "problem_mark", None)
    problem = " ".join(str(getattr(error, "problem", None) or error).split())
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else problem


def parse_setting(setting: str) -> dict[str, Any]:
    """Turn `purify.method=knn` into the document that it means; the value is YAML."""
    path, sign, text = setting.partition("=")
    if not sign or not path.strip():
        raise ConfigError(f"--set {setting} does not fit.", "Write it as --set section.key=value.")
    try:
        value: Any = yaml.load(text, Loader=StrictLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {setting}: the value is not valid YAML: {error}.", "Quote it.") from error
    for key in reversed(path.strip().split(".")):
        value = {key: value}
    return dict(value)


def merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Lay one document over another, section by section."""
    result = dict(under)
    for key, value in over.items():
        below = result.get(key)
        result[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


class StrictLoader(yaml.SafeLoader):
    """YAML without silent losses: a key that stands twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a repeated key, naming its line."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=deep)
            if isinstance(key, str | int) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key}' stands twice", key_node.start_mark)
            if isinstance(key, str | int):
                seen.add(key)
        return super().construct_mapping(node, deep=deep)
