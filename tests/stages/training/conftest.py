"""A training small enough to be watched: a line fitted to points."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from pipeline.progress import ProgressWriter
from pipeline.requests import StageRequest
from pipeline.store import FileStore
from stages.shell import Context
from stages.shell.checkpoints import Checkpoints
from stages.shell.stop import StopFlag


@pytest.fixture
def make_context(store: FileStore, tmp_path: Path) -> Iterator[Callable[..., Context]]:
    opened = ExitStack()

    def make(checkpoint_seconds: float = 300.0) -> Context:
        request = StageRequest(stage="t", kind="t", key="k", config={}, store=store.url, work=str(tmp_path / "work"))
        progress = opened.enter_context(closing(ProgressWriter(request.work_folder)))
        checkpoints = Checkpoints(store, "k", checkpoint_seconds)
        return Context(request, store, progress, StopFlag(), checkpoints)

    with opened:
        yield make
