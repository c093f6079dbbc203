"""What the operator decides on a worker, by its environment: the store, the readable data, what may be spent."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from pipeline.config import describe_faults
from pipeline.errors import ConfigError
from pipeline.requests import Resources
from pipeline.store import Store, open_store

STORE_ENV = "PURIFLOW_STORE"
ROOT_ENV = "PURIFLOW_DATA_ROOT"
ROOTS_ENV = "PURIFLOW_DATA_ROOTS"
RESOURCES_ENV = {name: f"PURIFLOW_{name.upper()}" for name in Resources.model_fields}


@dataclass(frozen=True)
class Surroundings:
    """The store and the folders that a worker may use, and the resources of its stages."""

    store: str
    root: Path  # what relative paths of a form start from
    roots: tuple[Path, ...]  # nothing else is read
    resources: Resources

    def open_store(self) -> Store:
        """Open the store."""
        return open_store(self.store)


def confined() -> Surroundings:
    """Read what the worker was told, and hold this process and its stages to it: tables and links name files too."""
    surroundings = read_surroundings()
    os.environ[ROOTS_ENV] = os.pathsep.join(str(root) for root in surroundings.roots)
    return surroundings


def read_surroundings(environment: Mapping[str, str] = os.environ) -> Surroundings:
    """Read what the worker was told."""
    store = environment.get(STORE_ENV, "")
    if not store:
        raise ConfigError(f"{STORE_ENV} names no store.", "Set it on the worker: a folder or s3://bucket/prefix.")
    root = Path(environment.get(ROOT_ENV) or ".").absolute()
    named = [Path(part) for part in environment.get(ROOTS_ENV, "").split(os.pathsep) if part]
    spend = {name: environment[variable] for name, variable in RESOURCES_ENV.items() if environment.get(variable)}
    try:
        resources = Resources.model_validate(spend)
    except ValidationError as error:
        named_variables = ", ".join(RESOURCES_ENV[name] for name in spend)
        raise ConfigError(
            f"the worker's {named_variables} do not fit: {describe_faults(error)}.", "Mend them on the worker."
        ) from error
    return Surroundings(store, root, tuple(p.absolute() for p in named) or (root,), resources)
