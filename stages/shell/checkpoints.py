"""Checkpoints in the store: written like artifacts, found again by the key they work towards."""

import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pipeline.artifacts import Artifact, Manifest, list_files
from pipeline.errors import PuriflowError
from pipeline.keys import file_sha256
from pipeline.store import Store, utc_now

KIND = "checkpoints"
KEPT = 2


class Checkpoints:
    """The checkpoints of one key: save by time or by will, resume from the newest that verifies."""

    def __init__(self, store: Store, key: str, seconds: float) -> None:
        self._store = store
        self._key = key
        self._seconds = seconds
        self._attempt = uuid.uuid4().hex[:12]
        self._last = time.monotonic()

    def due(self) -> bool:
        """Tell whether the interval since the last checkpoint has passed."""
        return time.monotonic() - self._last >= self._seconds

    def save(self, step: int, write: Callable[[Path], None]) -> None:
        """Write one checkpoint whole, then drop the older ones but one: the newest may turn out damaged."""
        name = f"{step:012d}-{self._attempt}"
        with self._store.staging(KIND, self._key) as folder:
            write(folder)
            manifest = Manifest(
                kind=KIND,
                key=f"{self._key}/{name}",
                files=list_files(folder),
                metrics={"step": step},
                created=utc_now(),
            )
            self._store.publish(folder, manifest)
        older = [other for other in self._names() if other < name]
        for other in older[: 1 - KEPT]:
            self._store.remove(f"{KIND}/{self._key}/{other}")
        self._last = time.monotonic()

    def latest(self) -> tuple[int, Artifact] | None:
        """Find the newest checkpoint whose files are as they were written."""
        for name in reversed(self._names()):
            with suppress(PuriflowError, OSError):
                found = self._store.find(KIND, f"{self._key}/{name}")
                if found is not None and is_intact(found):
                    return int(name.split("-")[0]), found
        return None

    def clear(self) -> None:
        """Drop all checkpoints: the artifact is there."""
        if self._names():
            self._store.remove(f"{KIND}/{self._key}")

    def _names(self) -> list[str]:
        return self._store.children(f"{KIND}/{self._key}")


def is_intact(artifact: Artifact) -> bool:
    """Bring all files of an artifact to this machine and compare them with its manifest."""
    return all(file_sha256(artifact.path(entry.path)) == entry.sha256 for entry in artifact.manifest.files)
