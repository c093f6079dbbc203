"""`puriflow plan --request`: the next stage can be started by torchrun or a scheduler."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from flows.document import load_document
from flows.plan import plan_clean
from pipeline.requests import load_request
from pipeline.store import FileStore


def test_the_request_of_the_next_stage_is_written_and_can_be_run(
    write_tiny: Callable[..., Path], tmp_path: Path
) -> None:
    document, store = load_document(write_tiny(tmp_path)), FileStore(tmp_path / "store")
    folder = tmp_path / "schreib mich"
    for expected in ("ingest", "represent"):
        planned = {p.stage: p for p in plan_clean(document, store, folder)}
        request = load_request(folder / f"{expected}.json")
        assert planned[expected].state == "run"
        assert (request.stage, request.key, request.work) == (expected, planned[expected].key, str(folder))
        if expected == "ingest":
            words = [sys.executable, "-P", "-m", "stages.ingest", folder / "ingest.json"]
            done = subprocess.run(words, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["artifact"].startswith(request.kind)
    assert set(request.inputs) == {"images"}
