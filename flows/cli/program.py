"""The program: all commands, and the border where every failure becomes one message and an exit code."""

import json
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from flows.cli import clean, compare, demo, deploy, doctor, init, labels, noise, plan, publish, review, stage, store, up
from flows.cli.output import errors
from pipeline.errors import EndedWithoutCheckpointError, PuriflowError, StageFailedError, UserError

JSON_FLAG = "--json"

app = typer.Typer(
    name="puriflow",
    help="Purify wrong labels with a few trusted ones, and retrain on the result.",
    epilog="Start with:  puriflow demo",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (demo, init, plan, clean, compare, stage, publish, noise, up, deploy, doctor):
    app.command(module.__name__.rpartition(".")[2], epilog=f"Example:  {module.EXAMPLE}")(module.command)
for group in (labels, review, store):
    app.add_typer(group.app)


def show_version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        from importlib.metadata import version

        typer.echo(f"puriflow {version('puriflow')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and end")
    ] = False,
) -> None:
    """Purify wrong labels with a few trusted ones, and retrain on the result."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without ✓ shows ?, and goes on
    try:
        return int(app(args=arguments, prog_name="puriflow", standalone_mode=False) or 0)
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 (the border of the program)
        ours = as_ours(error)
        if JSON_FLAG in arguments:
            print(json.dumps({"error": ours.to_dict()}, ensure_ascii=False))  # noqa: T201 (the result)
        if ours.exit_code == 1 and not isinstance(ours, StageFailedError):  # that one brings the stage's own lines
            traceback.print_exception(error)
        errors().print(f"error: {ours}", style="red", markup=False, highlight=False, soft_wrap=True)
        return ours.exit_code


def as_ours(error: BaseException) -> PuriflowError:
    """Turn any failure into one of our errors: what a person can mend, Ctrl-C, or our own fault."""
    if isinstance(error, PuriflowError):
        return error
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return EndedWithoutCheckpointError("stopped.", "Run the same command again to go on.")
    say = getattr(error, "format_message", None)  # typer's usage errors, whose class has no public name
    if say is None:
        return PuriflowError(
            f"{type(error).__name__}: {error}", "This is our fault: please report it with these lines."
        )
    context = getattr(error, "ctx", None)
    said = say().rstrip(".")
    message = said if said.endswith("?") else f"{said}."
    return UserError(message, f"See `{context.command_path if context else 'puriflow'} --help`.")
