"""Run one stage program: request in, artifact out, exit code as DESIGN says."""

import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError

from pipeline.artifacts import Artifact, Ref
from pipeline.config import StageConfig, describe_faults
from pipeline.errors import ConfigError, PuriflowError, RankLostError
from pipeline.progress import ProgressWriter
from pipeline.requests import ERROR_FILE, StageRequest, load_request
from pipeline.store import Store, open_store
from stages.shell.checkpoints import Checkpoints
from stages.shell.context import Context
from stages.shell.ranks import ALONE, Ranks, ranks_from_environment
from stages.shell.stop import StopFlag
from stages.shell.translate import translate

KILL_SECONDS = 5

C = TypeVar("C", bound=StageConfig)

Produce = Callable[[C, Context], Mapping[str, Any]]


def run(config_type: type[C], produce: Produce[C], shared: bool = False) -> None:
    """Be the program `python -m stages.<name> REQUEST`: never returns; `shared`: several processes may be one stage."""
    stop = StopFlag()
    ranks = ranks_from_environment()
    work: Path | None = None
    try:
        stop.install()
        request = load_request(request_path(sys.argv))
        work = request.work_folder
        if ranks.local_rank == 0:
            (work / ERROR_FILE).unlink(missing_ok=True)  # of an earlier attempt
        artifact = attempt(request, config_type, produce, stop, ranks if shared else refuse_company(ranks))
        with suppress(OSError):  # nobody may be listening any more
            if ranks.main:
                print(json.dumps({"artifact": str(artifact.ref), "metrics": artifact.metrics}), flush=True)  # noqa: T201 (the result)
        code = 0
    except BaseException as error:  # noqa: BLE001 (the border of the program)
        ours = translate(error)
        if isinstance(ours, RankLostError) and stop.requested:  # all were asked to stop, another was faster
            ours = stop.ended()
        code = report_failure(ours, error, work)
    for child in multiprocessing.active_children():
        child.kill()
        child.join(KILL_SECONDS)
    os._exit(code)  # worker threads of libraries must not hold the end up


def request_path(arguments: list[str]) -> Path:
    """Take the one argument of a stage program."""
    if len(arguments) != 2:
        raise ConfigError("a stage takes one argument, its request file.", "Run it by `puriflow stage NAME FILE`.")
    return Path(arguments[1]).absolute()


def attempt(
    request: StageRequest, config_type: type[C], produce: Produce[C], stop: StopFlag, ranks: Ranks = ALONE
) -> Artifact:
    """Compute the artifact, unless it is there or another attempt is faster; of several processes the main one asks."""
    try:
        config = config_type.model_validate(request.config)
    except ValidationError as error:
        faults = describe_faults(error)
        raise ConfigError(f"request for {request.stage} does not fit: {faults}.", "Let `puriflow` write it.") from error
    store = open_store(request.store)
    ranks.join(request.resources.device)
    with store.lock(request.kind, request.key) if ranks.main else nullcontext():
        checkpoints = Checkpoints(store, request.key, request.resources.checkpoint_seconds)
        found = store.find(request.kind, request.key) if ranks.main else None
        if ranks.tell(found is not None):
            if found is not None:  # perhaps by an attempt that was killed right after publishing
                checkpoints.clear()
                store.sweep()
            return found or store.get(Ref(kind=request.kind, key=request.key))
        set_seeds(int(getattr(config, "seed", 0) or 0))
        with (
            output_folder(request, store, ranks) as folder,
            closing(ProgressWriter(request.work_folder if ranks.main else folder)) as progress,
        ):
            artifact = compute(
                config, Context(request, store, progress, stop, checkpoints, folder, ranks=ranks), produce
            )
        if ranks.main:
            checkpoints.clear()
        return artifact


def refuse_company(ranks: Ranks) -> Ranks:
    """Pass one process on; more would all do the same work."""
    if ranks.world > 1:
        raise ConfigError(f"{ranks.world} processes cannot share this stage.", "Run it as one, without torchrun.")
    return ranks


@contextmanager
def output_folder(request: StageRequest, store: Store, ranks: Ranks) -> Iterator[Path]:
    """Give the folder for the artifact's files; what others than the main process write into theirs is dropped."""
    if ranks.main:
        with store.staging(request.kind, request.key) as folder:
            yield folder
    else:
        request.work_folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=request.work_folder, prefix=f"rank-{ranks.rank}-") as scratch:
            yield Path(scratch)


def compute(config: C, context: Context, produce: Produce[C]) -> Artifact:
    """Let the stage do its work; the main process publishes it, and all end together."""
    request, started = context.request, time.monotonic()
    context.stop.immediate = False
    metrics = {**produce(config, context), "seconds": round(time.monotonic() - started, 3)}
    target = Ref(kind=request.kind, key=request.key)
    if context.ranks.main:
        inputs = {**request.inputs, **context.extra_inputs}
        context.store.publish(context.folder, context.manifest(target, context.folder, metrics, inputs))
    context.ranks.wait()
    return context.store.get(target)


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
        with suppress(OSError), (work / ERROR_FILE).open("x", encoding="utf-8") as file:
            file.write(json.dumps(ours.to_dict()))  # of several processes, the first that failed tells why
    return ours.exit_code
