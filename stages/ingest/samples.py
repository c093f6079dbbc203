"""What a reader returns: the roles of a user's columns as text, own columns, and where images or features are."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from pipeline.datasets.files import Files

Blobs = list[bytes | None]


@dataclass(frozen=True)
class Pack:
    """Images inside one file: its name, size and time, and a way to go through their bytes."""

    uri: str
    size: int
    mtime: int
    rows: int
    read: Callable[[], Iterator[Blobs]]


@dataclass(frozen=True)
class Vectors:
    """Features of all samples [rows, dim]; parts are memory maps where they can be."""

    parts: list[np.ndarray]

    @property
    def dim(self) -> int:
        """Return the numbers in a row."""
        return int(self.parts[0].shape[1])

    def chunks(self, size: int) -> Iterator[np.ndarray]:
        """Go through the rows in order."""
        for part in self.parts:
            for start in range(0, len(part), size):
                yield part[start : start + size]


@dataclass
class Samples:
    """All rows of a dataset in order, before labels are understood."""

    roles: (
        pa.Table
    )  # text: sample_id, and where given: given_label_1.., trusted_label, trusted_origin, propensity, split
    source: pa.Array  # text: the path of the image, or file:row
    pictures: Files | list[Pack] | None = None
    vectors: Vectors | None = None
    own: pa.Table | None = None
    warnings: list[str] = field(default_factory=list)
    class_names: list[str] | None = None  # where the source itself lists them, in the order of their numbers

    def __len__(self) -> int:
        return int(self.roles.num_rows)
