"""The features artifact: one row of numbers for each sample, in .npy parts, with what the rows were made from."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.artifacts import Artifact
from pipeline.errors import ContractError, DataError

KIND = "features"
PART_ROWS = 262_144
ROWS_FILE = "rows.parquet"
ROWS_SCHEMA = pa.schema(
    [("sample_id", pa.string()), ("sha256", pa.string()), ("status", pa.string()), ("reason", pa.string())]
)
LARGEST_HALF = 60_000.0
SMALLEST_HALF = 1e-3

Floats = npt.NDArray[np.floating]


def storage_dtype(chunks: Iterable[Floats]) -> np.dtype[np.floating]:
    """Choose float16 where it keeps what matters, else float32.

    It does where no |x| is above 60,000 and, in every column that varies, the largest |x| is at least 0.001 and half
    a float16 step there is at most 1 % of the standard deviation (or where the numbers are float16 already).
    """
    count, given_half = 0, True
    origin = total = squares = peak = np.zeros(1)
    for chunk in chunks:
        values = np.asarray(chunk, dtype=np.float64)
        given_half &= chunk.dtype == np.float16
        origin = values[0] if count == 0 and len(values) else origin
        count += len(values)
        shifted = values - origin  # so that a large mean does not hide a small spread
        total, squares = total + shifted.sum(axis=0), squares + np.square(shifted).sum(axis=0)
        peak = np.maximum(peak, np.abs(values).max(axis=0, initial=0.0))
    if count == 0 or given_half:
        return np.dtype(np.float16)
    deviation = np.sqrt(np.maximum(squares / count - np.square(total / count), 0.0))
    varies = deviation > 1e-6 * np.maximum(peak, np.finfo(np.float32).tiny)
    kept = (peak >= SMALLEST_HALF) & (peak * 2.0**-11 <= 0.01 * deviation)
    fits = bool(np.all(peak <= LARGEST_HALF) and np.all(kept | ~varies))
    return np.dtype(np.float16 if fits else np.float32)


class FeaturesWriter:
    """Write features chunk by chunk into parts of equal length, without holding them."""

    def __init__(self, folder: Path, dim: int, dtype: npt.DTypeLike = np.float16) -> None:
        self._folder = folder
        self._dim = dim
        self._dtype = np.dtype(dtype)
        self._parts: list[int] = []
        self.rows = 0

    def append(self, array: Floats) -> None:
        """Add rows [n, dim]; broken rows are zeros."""
        if array.ndim != 2 or array.shape[1] != self._dim:
            raise ContractError(f"features of shape {array.shape} do not fit [n, {self._dim}].", "Give one width.")
        if not np.isfinite(array).all():
            row = self.rows + int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
            raise DataError(f"features of row {row} hold NaN or infinity; all must be finite.", "Mend or drop the row.")
        if self._dtype == np.float16 and np.abs(array).max(initial=0.0) > LARGEST_HALF:
            raise DataError("features above 60,000 do not fit float16.", "Choose the type with `storage_dtype`.")
        while len(array):
            if not self._parts or self._parts[-1] == PART_ROWS:
                self._open_part()
            room = PART_ROWS - self._parts[-1]
            self._write(array[:room])
            array = array[room:]

    def close(self, rows: pa.Table) -> None:
        """Finish the parts and write the table of rows (`ROWS_SCHEMA`)."""
        if rows.num_rows != self.rows:
            raise ContractError(f"{self.rows} feature rows but {rows.num_rows} samples.", "Give one row for each.")
        if not self._parts:
            self._open_part()
        for part in range(len(self._parts)):
            self._write_header(part, "r+b")
        table = rows.select(ROWS_SCHEMA.names).cast(ROWS_SCHEMA)
        pq.write_table(table, self._folder / ROWS_FILE, compression="zstd")

    def _open_part(self) -> None:
        self._parts.append(0)
        self._write_header(len(self._parts) - 1, "wb")

    def _write(self, array: Floats) -> None:
        with self._path(len(self._parts) - 1).open("ab") as file:
            file.write(np.ascontiguousarray(array, dtype=self._dtype).tobytes())
        self._parts[-1] += len(array)
        self.rows += len(array)

    def _write_header(self, part: int, mode: Literal["wb", "r+b"]) -> None:
        """Write the .npy header of a part; numpy pads it, so that it keeps its length while the rows grow."""
        descr = np.lib.format.dtype_to_descr(self._dtype)
        header = {"descr": descr, "fortran_order": False, "shape": (self._parts[part], self._dim)}
        with self._path(part).open(mode) as file:
            np.lib.format.write_array_header_1_0(file, header)

    def _path(self, part: int) -> Path:
        return self._folder / f"features-{part:05d}.npy"


@dataclass(frozen=True)
class Features:
    """The features of all samples, in dataset order."""

    rows: pa.Table
    parts: tuple[npt.NDArray[np.floating], ...]

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    @property
    def dim(self) -> int:
        """Return the numbers in a row."""
        return int(self.parts[0].shape[1])

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """Return the type on disk."""
        return self.parts[0].dtype

    @cached_property
    def sample_ids(self) -> npt.NDArray[np.object_]:
        """Return the ids in order."""
        return np.asarray(self.rows["sample_id"].to_numpy(zero_copy_only=False), dtype=object)

    @cached_property
    def sha256(self) -> npt.NDArray[np.object_]:
        """Return the checksum of what each row was made from."""
        return np.asarray(self.rows["sha256"].to_numpy(zero_copy_only=False), dtype=object)

    @cached_property
    def ok(self) -> npt.NDArray[np.bool_]:
        """Tell which rows hold features; the others are zeros."""
        return np.asarray(self.rows["status"].to_numpy(zero_copy_only=False) == "ok", dtype=bool)

    def chunks(self, size: int) -> Iterator[Floats]:
        """Go through the rows in order, at most `size` at a time (fewer where a part ends)."""
        for part in self.parts:
            for start in range(0, len(part), size):
                yield np.asarray(part[start : start + size])

    def take(self, indices: npt.NDArray[np.integer]) -> Floats:
        """Read some rows, in the order of the indices."""
        result = np.empty((len(indices), self.dim), dtype=self.dtype)
        for number, part in enumerate(self.parts):
            here = indices // PART_ROWS == number
            result[here] = part[indices[here] % PART_ROWS]
        return result

    def array(self) -> Floats:
        """Return all rows [n, dim]: a memory map where there is one part, a copy otherwise."""
        return self.parts[0] if len(self.parts) == 1 else np.concatenate(self.parts)


def open_features(artifact: Artifact) -> Features:
    """Open the features of an artifact without reading them."""
    rows = pq.read_table(artifact.path(ROWS_FILE), schema=ROWS_SCHEMA)
    parts = tuple(np.load(path, mmap_mode="r", allow_pickle=False) for path in artifact.paths("features-"))
    found = sum(len(part) for part in parts)
    if found != rows.num_rows or len(parts) != max(1, math.ceil(found / PART_ROWS)):
        raise ContractError(
            f"{artifact.ref} holds {found} feature rows in {len(parts)} parts for {rows.num_rows} samples.",
            "Run the stage that made it again.",
        )
    return Features(rows, parts)
