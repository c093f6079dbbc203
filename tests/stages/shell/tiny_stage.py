"""A stage as small as can be: a chain of hashes, a checkpoint where asked, one further artifact, faults on demand."""

import errno
import hashlib
import json
import multiprocessing
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from pipeline.artifacts import Ref
from pipeline.config import StageConfig
from pipeline.errors import DataError
from stages.shell import Context, run
from stages.shell.ranks import Ranks

Fault = Literal["", "memory", "disk", "user", "bug", "exit", "child", "last"]


class TinyConfig(StageConfig):
    seed: int = Field(0, ge=0)
    steps: int = 20
    pause: float = 0.0
    checkpoints: bool = True
    fault: Fault = ""


FAULTS: dict[str, BaseException] = {
    "memory": MemoryError("Unable to allocate 3.00 TiB for an array"),
    "disk": OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "features.npy"),
    "user": DataError("row 7 is broken.", "Mend it."),
    "bug": ZeroDivisionError("oops"),
    "exit": SystemExit(0),
    "last": DataError("the last process failed.", "Mend it."),
}


def leave_a_worker() -> None:
    worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    worker.start()
    print(worker.pid, flush=True)


def fail(fault: Fault, ranks: Ranks) -> None:
    if fault == "child":
        leave_a_worker()
    elif fault == "last" and ranks.rank < ranks.world - 1:
        ranks.wait()
    elif fault:
        raise FAULTS[fault]


def produce(config: TinyConfig, context: Context) -> Mapping[str, Any]:
    fail(config.fault, context.ranks)
    found = context.checkpoints.latest() if config.checkpoints else None
    start, value = 0, str(np.random.randint(2**31))  # the shell seeds even this
    if found is not None:
        state = json.loads(found[1].path("state.json").read_text())
        start, value = state["step"], state["value"]

    def write(folder: Path) -> None:
        (folder / "state.json").write_text(json.dumps({"step": step + 1, "value": value}))
        (folder / "weights.bin").write_bytes(value.encode() * 1000)

    for step in range(start, config.steps):
        value = hashlib.sha256(f"{value} {step}".encode()).hexdigest()
        time.sleep(config.pause)
        context.progress.report("count", step + 1, config.steps, "steps")
        if not config.checkpoints:
            context.stop.check()
            continue
        stopping = context.ranks.any(context.stop.requested)
        if context.ranks.main and (context.checkpoints.due() or stopping):
            context.checkpoints.save(step + 1, write)
        if stopping:
            context.ranks.wait()
            raise context.stop.interrupted()
    shard = context.publish(Ref(kind="shards", key="s" + value[:12]), lambda f: _write(f / "data.bin", value * 500))
    context.extra_inputs["shard"] = shard.ref
    for n in range(5):
        _write(context.folder / "parts" / f"{n}.bin", f"{value}{n}" * 1000)
    return {"value": value, "resumed_at": start}


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


if __name__ == "__main__":
    run(TinyConfig, produce, shared=True)
