"""Turn what libraries raise into our errors, where a person could do something about it."""

import errno
import re

from pipeline.errors import (
    DiskFullError,
    EndedWithoutCheckpointError,
    PuriflowError,
    RankLostError,
    ResourceError,
)

# Not every library keeps the errno: numpy counts items, the Rust of safetensors and the C++ of torch speak text.
NO_SPACE = re.compile(r"no space left|disk quota exceeded|os error 28\b|\d+ requested and \d+ written", re.IGNORECASE)
NO_MEMORY = re.compile(r"out of memory|can't allocate memory|cannot allocate memory|not enough memory", re.IGNORECASE)
PEER_GONE = re.compile(r"\bgloo\b|\bNCCL\b|connection (closed|reset) by peer|DistStoreError", re.IGNORECASE)


def translate(error: BaseException) -> PuriflowError:
    """Name any failure in our words; what is left over is our own fault."""
    if isinstance(error, PuriflowError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return EndedWithoutCheckpointError("stopped before a checkpoint.")
    text = str(error)
    first = text.splitlines()[0] if text else type(error).__name__
    if isinstance(error, MemoryError) or NO_MEMORY.search(text):
        return ResourceError(
            f"out of memory: {first}.", "Lower batch_size or image_size, or use a machine with more memory."
        )
    if is_disk_full(error):
        where = getattr(error, "filename", None) or "work folder or store"
        return DiskFullError(f"no space left on the disk ({where}: {first}).", "Free space, run again.")
    if isinstance(error, RuntimeError) and PEER_GONE.search(text):
        return RankLostError(
            f"another process of this run was killed or failed: {first}.",
            "If memory ran out, lower batch_size. Run the same command again to go on from the last checkpoint.",
        )
    return PuriflowError(f"{type(error).__name__}: {text}", "This is our fault: please report it with the lines above.")


def is_disk_full(error: BaseException) -> bool:
    """Tell whether a write failed for want of space."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or bool(NO_SPACE.search(str(error)))
