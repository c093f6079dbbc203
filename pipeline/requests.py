"""A stage request: everything a stage program is told, in one JSON file."""

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from pipeline.artifacts import Ref
from pipeline.config import Config, describe_faults
from pipeline.errors import ConfigError

ERROR_FILE = "error.json"  # in the work folder: why the stage ended without an artifact
PARENT_ENV = "PURIFLOW_PARENT"  # the process whose death ends the stage


class Resources(Config):
    """What the machine may spend; never part of a key."""

    device: str = Field("auto", title="Device", description="auto, cpu, cuda or cuda:N")
    workers: int = Field(0, ge=0, le=1024, title="Workers", description="Processes and threads; 0 means all cores")
    processes: int = Field(
        1,
        ge=1,
        le=1024,
        title="Processes",
        description="Processes that share a stage, where it can be; one for each GPU",
    )
    cache_gib: float | None = Field(
        None,
        ge=0,
        title="Disk for decoded images",
        description="GiB; images that need more are decoded anew in every epoch. None: half of what is free",
    )
    checkpoint_seconds: float = Field(
        300.0, gt=0, title="Checkpoint interval", description="Seconds between checkpoints"
    )


class StageRequest(Config):
    """The stage, its frozen configuration, its inputs, the store, and where to work."""

    stage: str
    kind: str
    key: str
    config: dict[str, Any]
    inputs: dict[str, Ref] = Field(default_factory=dict)
    hints: dict[str, Ref] = Field(default_factory=dict)  # earlier artifacts to copy from; never change the result
    store: str
    work: str
    resources: Resources = Resources()

    @property
    def work_folder(self) -> Path:
        """Return the attempt's own folder."""
        return Path(self.work)

    def save(self, path: Path) -> Path:
        """Write the request where a stage program can read it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.model_dump_json(indent=1), encoding="utf-8")
        return path


def load_request(path: Path) -> StageRequest:
    """Read and check a request file."""
    try:
        return StageRequest.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"request {path} cannot be read: {error}.", "Name a request file.") from error
    except ValidationError as error:
        raise ConfigError(
            f"request {path} does not fit: {describe_faults(error)}.", "Let `puriflow clean` write it."
        ) from error
