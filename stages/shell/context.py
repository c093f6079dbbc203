"""What a stage may use while it runs: inputs, a folder for its output, progress, checkpoints, the wish to stop."""

import os
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.artifacts import Artifact, Manifest, Ref, list_files
from pipeline.errors import MissingArtifactError
from pipeline.keys import SHELL_VERSION
from pipeline.progress import ProgressWriter
from pipeline.requests import Resources, StageRequest
from pipeline.store import Store, utc_now
from stages.shell.checkpoints import Checkpoints
from stages.shell.ranks import ALONE, Ranks
from stages.shell.stop import StopFlag


@dataclass
class Context:
    """The surroundings of one attempt at one stage."""

    request: StageRequest
    store: Store
    progress: ProgressWriter
    stop: StopFlag
    checkpoints: Checkpoints
    folder: Path = Path()  # write the artifact's files here
    extra_inputs: dict[str, Ref] = field(default_factory=dict)  # inputs found on the way, for the manifest
    ranks: Ranks = ALONE  # the processes that share the stage

    @property
    def resources(self) -> Resources:
        """Return what the machine may spend."""
        return self.request.resources

    @property
    def workers(self) -> int:
        """Return how many processes or threads to use: this process's part of what the machine has or may spend."""
        return max(1, (self.resources.workers or len(os.sched_getaffinity(0))) // self.ranks.local_world)

    def input(self, name: str) -> Artifact:
        """Bring an input that the stage cannot do without."""
        if name not in self.request.inputs:
            raise MissingArtifactError(f"stage {self.request.stage} was given no input '{name}'.", "Run it by a flow.")
        return self.store.get(self.request.inputs[name])

    def optional_input(self, name: str) -> Artifact | None:
        """Bring an input that may be absent."""
        return self.input(name) if name in self.request.inputs else None

    def hint(self, name: str) -> Artifact | None:
        """Bring an earlier artifact to copy from, where it is still there."""
        ref = self.request.hints.get(name)
        return self.store.find(ref.kind, ref.key) if ref else None

    def publish(
        self, target: Ref, write: Callable[[Path], Mapping[str, Any] | None], inputs: Mapping[str, Ref] | None = None
    ) -> Artifact:
        """Publish a further artifact of this stage (a shard, the features); an existing one is used as it is."""
        found = self.store.find(target.kind, target.key)
        if found is not None:
            return found
        with self.store.staging(target.kind, target.key) as folder:
            metrics = write(folder) or {}
            return self.store.publish(folder, self.manifest(target, folder, metrics, inputs or {}))

    def manifest(self, target: Ref, folder: Path, metrics: Mapping[str, Any], inputs: Mapping[str, Ref]) -> Manifest:
        """Describe a folder as the artifact that this stage made."""
        return Manifest(
            kind=target.kind, key=target.key, stage=self.request.stage,
            method=str(self.request.config.get("method", "")), versions=versions(), config=self.request.config,
            inputs=dict(inputs), files=list_files(folder), metrics=dict(metrics), environment=environment(),
            created=utc_now(),
        )  # fmt: skip


@cache
def versions() -> dict[str, str | int]:
    """Name the versions that made an artifact."""
    names = ["puriflow", "torch", "torchvision", "lightly", "numpy", "pyarrow", "pillow", "faiss-gpu"]
    found: dict[str, str | int] = {"shell": SHELL_VERSION, "python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def environment() -> dict[str, Any]:
    """Say where the artifact was made; the machine's name and user stay private."""
    result: dict[str, Any] = {"platform": platform.platform(), "cpus": os.cpu_count()}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        result["gpu"] = torch.cuda.get_device_name()
    return result
