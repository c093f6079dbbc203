"""Arrays in files, mapped into memory."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def reserved_array(path: Path, shape: tuple[int, int], dtype: npt.DTypeLike) -> np.ndarray[Any, Any]:
    """Map a new .npy file whose space is taken at once: a full disk is an error here, not a crash at some write."""
    array = np.lib.format.open_memmap(path, "w+", dtype, shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array
