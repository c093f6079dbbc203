"""`puriflow stage`: run one stage program by hand, as containers and other schedulers do."""

import signal
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import AsJson
from flows.cli.output import emit

EXAMPLE = "puriflow stage purify request.json"


def command(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="ingest, represent, embed, purify, retrain, report or review")
    ],
    request: Annotated[Path, typer.Argument(metavar="REQUEST", help="The request file of the stage")],
    as_json: AsJson = False,
) -> int:
    """Run one stage program on a request file.

    Its JSON line and its exit code are passed on.
    """
    from flows.catalogue import STAGES
    from flows.child import command as program
    from flows.child import failure
    from pipeline.errors import ConfigError
    from pipeline.requests import load_request

    if name not in STAGES:
        raise ConfigError(f"there is no stage '{name}'.", f"Choose one of: {', '.join(STAGES)}.")
    asked = load_request(request)
    processes = STAGES[name].processes(str(asked.config.get("method", "")), asked.resources.processes)
    code = run(program(name, request.absolute(), processes))
    if code and processes > 1:  # a launcher of several always ends with 1
        code = failure(asked, code).exit_code
    if code and as_json:
        emit({"error": failure(asked, code).to_dict() | {"exit_code": code}}, True, lambda _: None)
    return code


def run(program: list[str]) -> int:
    """Run a program that gets our signals once and never outlives us; return its exit code as a shell would."""
    from flows.child import environment

    process = subprocess.Popen(program, start_new_session=True, env=environment())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: process.send_signal(received))
    code = process.wait()
    return code if code >= 0 else 128 - code
