"""Run one stage program: request in, artifact out, exit code as DESIGN says."""

import json
import multiprocessing
import os
import random
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError

from pipeline.artifacts import Artifact, Ref
from pipeline.config import StageConfig, describe_faults
from pipeline.errors import ConfigError, PuriflowError
from pipeline.progress import ProgressWriter
from pipeline.requests import ERROR_FILE, StageRequest, load_request
from pipeline.store import open_store
from stages.shell.checkpoints import Checkpoints
from stages.shell.context import Context
from stages.shell.stop import StopFlag
from stages.shell.translate import translate

KILL_SECONDS = 5

C = TypeVar("C", bound=StageConfig)

Produce = Callable[[C, Context], Mapping[str, Any]]


def run(config_type: type[C], produce: Produce[C]) -> None:
    """Be the program `python -m stages.<name> REQUEST`: never returns."""
    stop = StopFlag()
    work: Path | None = None
    try:
        stop.install()
        request = load_request(request_path(sys.argv))
        work = request.work_folder
        (work / ERROR_FILE).unlink(missing_ok=True)  # of an earlier attempt
        artifact = attempt(request, config_type, produce, stop)
        with suppress(OSError):  # nobody may be listening any more
            print(json.dumps({"artifact": str(artifact.ref), "metrics": artifact.metrics}), flush=True)  # noqa: T201 (the result)
        code = 0
    except BaseException as error:  # noqa: BLE001 (the border of the program)
        code = report_failure(translate(error), error, work)
    for child in multiprocessing.active_children():
        child.kill()
        child.join(KILL_SECONDS)
    os._exit(code)  # worker threads of libraries must not hold the end up


def request_path(arguments: list[str]) -> Path:
    """Take the one argument of a stage program."""
    if len(arguments) != 2:
        raise ConfigError("a stage takes one argument, its request file.", "Run it by `puriflow stage NAME FILE`.")
    return Path(arguments[1]).absolute()


def attempt(request: StageRequest, config_type: type[C], produce: Produce[C], stop: StopFlag) -> Artifact:
    """Compute the artifact, unless it is there or another attempt is faster."""
    try:
        config = config_type.model_validate(request.config)
    except ValidationError as error:
        faults = describe_faults(error)
        raise ConfigError(f"request for {request.stage} does not fit: {faults}.", "Let `puriflow` write it.") from error
    store = open_store(request.store)
    with store.lock(request.kind, request.key):
        checkpoints = Checkpoints(store, request.key, request.resources.checkpoint_seconds)
        found = store.find(request.kind, request.key)
        if found is not None:  # perhaps by an attempt that was killed right after publishing
            checkpoints.clear()
            store.sweep()
            return found
        set_seeds(int(getattr(config, "seed", 0) or 0))
        with (
            store.staging(request.kind, request.key) as folder,
            closing(ProgressWriter(request.work_folder)) as progress,
        ):
            context = Context(request, store, progress, stop, checkpoints, folder)
            started = time.monotonic()
            stop.immediate = False
            metrics = {**produce(config, context), "seconds": round(time.monotonic() - started, 3)}
            inputs = {**request.inputs, **context.extra_inputs}
            target = Ref(kind=request.kind, key=request.key)
            artifact = store.publish(folder, context.manifest(target, folder, metrics, inputs))
        checkpoints.clear()
        return artifact


def set_seeds(seed: int) -> None:
    """Seed every global generator, though pure code is passed its own."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)


def report_failure(ours: PuriflowError, error: BaseException, work: Path | None) -> int:
    """Tell the parent and the person what went wrong; return the exit code."""
    with suppress(OSError):  # nobody may be listening any more
        if ours.exit_code == 1:
            traceback.print_exception(error, file=sys.stderr)
        print(f"error: {ours}", file=sys.stderr, flush=True)  # noqa: T201 (the message)
    if work is not None:
        with suppress(OSError):
            (work / ERROR_FILE).write_text(json.dumps(ours.to_dict()), encoding="utf-8")
    return ours.exit_code
