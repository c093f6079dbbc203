"""The command line `puriflow`: one file per command; heavy imports happen inside the commands."""

from flows.cli.program import main

__all__ = ["main"]
