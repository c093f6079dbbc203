"""The one error tree: every message names the thing with its numbers, what was expected and what to do."""

import signal
from typing import ClassVar


class PuriflowError(Exception):
    """Our own fault unless a subclass says otherwise."""

    code: ClassVar[str] = "internal"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        """Join what is wrong and what to do about it."""
        return f"{self.message} {self.remedy}".strip()

    def to_dict(self) -> dict[str, str | int]:
        """Describe the error for `--json` and for the parent of a stage process."""
        return {"code": self.code, "message": self.message, "remedy": self.remedy, "exit_code": self.exit_code}


class UserError(PuriflowError):
    """Something the user can mend: one message, no traceback, exit code 2."""

    code = "user"
    exit_code = 2


class ConfigError(UserError):
    """The YAML, a `--set` or a request does not fit."""

    code = "config"


class DataError(UserError):
    """The data set itself does not fit what was promised about it."""

    code = "data"


class ContractError(UserError):
    """An artifact or table does not keep its contract."""

    code = "contract"


class MissingArtifactError(UserError):
    """A needed artifact is not in the store."""

    code = "missing"


class StoreError(UserError):
    """The store cannot be reached, read or written."""

    code = "store"


class DiskFullError(StoreError):
    """No space is left where something had to be written."""

    code = "disk_full"


class UnsafeError(UserError):
    """A path or name that the safety contract forbids."""

    code = "unsafe"


class ResourceError(UserError):
    """Out of memory or another limit of the machine; the remedy names the option to lower."""

    code = "resource"


class StageFailedError(PuriflowError):
    """A stage process ended without an artifact and without a message of its own."""

    code = "stage_failed"


class RankLostError(StageFailedError):
    """One of several processes that share a stage is gone, and the others cannot go on without it."""

    code = "rank_lost"


class InterruptedRunError(PuriflowError):
    """The run was asked to stop; where a checkpoint was written, running it again continues."""

    code = "interrupted"
    exit_code = 75


class EndedWithoutCheckpointError(InterruptedRunError):
    """The run was asked to stop before there was anything to continue from."""

    code = "interrupted_without_checkpoint"
    exit_code = 130


class TerminatedError(EndedWithoutCheckpointError):
    """The same, asked for by SIGTERM."""

    code = "terminated_without_checkpoint"
    exit_code = 143


def ended_by(number: int) -> type[EndedWithoutCheckpointError]:
    """Choose the error whose exit code is that of the signal."""
    return TerminatedError if number == signal.SIGTERM else EndedWithoutCheckpointError


def error_from_dict(record: dict[str, str | int]) -> PuriflowError:
    """Rebuild the error that a child process wrote down."""
    kinds: dict[str, type[PuriflowError]] = {}
    pending: list[type[PuriflowError]] = [PuriflowError]
    while pending:
        kind = pending.pop()
        kinds[kind.code] = kind
        pending.extend(kind.__subclasses__())
    return kinds.get(str(record.get("code")), PuriflowError)(str(record["message"]), str(record.get("remedy", "")))
