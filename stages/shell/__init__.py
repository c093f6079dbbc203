"""The shell of every stage program: request in, artifact out, signals, checkpoints, exit codes."""

from stages.shell.context import Context
from stages.shell.run import run

__all__ = ["Context", "run"]
