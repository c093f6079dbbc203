"""Examine all images of a dataset in order: what an earlier run knows is copied, the rest is read, hashed, decoded."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.files import Files
from stages.ingest.earlier import Earlier
from stages.ingest.samples import Blobs, Pack
from stages.ingest.shards import Data
from stages.ingest.workers import Answer, Question, Workers

BATCH_ROWS = 512
BATCH_BYTES = 8 << 20
MOST_FILE_BYTES = 512 << 20


@dataclass
class Batch:
    """Some rows in order: what is known about them already, and the question about the rest."""

    known: Answer  # of all rows; entries at `asked` are placeholders
    asked: list[int]
    question: Question
    data: list[Data | None] = field(default_factory=list)  # of all rows, where they are at hand

    def settle(self, answer: Answer) -> Answer:
        """Fill in what the workers found out; afterwards `data` has the bytes of every row that has any."""
        known = self.known
        for place, row in enumerate(self.asked):
            known.sha256[row] = answer.sha256[place]
            known.width[row], known.height[row] = answer.width[place], answer.height[place]
            known.reason[row], known.lengths[row] = answer.reason[place], answer.lengths[place]
            if answer.data:
                self.data[row] = answer.data[place]
        return known


def examine(pictures: Files | list[Pack], earlier: Earlier | None, workers: Workers) -> Iterator[Batch]:
    """Go through all images in dataset order, examined batch by batch."""
    batches = file_batches(pictures, earlier) if isinstance(pictures, Files) else pack_batches(pictures, earlier)
    for batch, answer in workers.map(batches):
        batch.settle(answer)
        yield batch


def file_batches(files: Files, earlier: Earlier | None) -> Iterator[Batch]:
    """Ask about the files that are there, not too long, and not known."""
    known = earlier.files(files) if earlier else np.full(len(files), -1, np.int64)
    readable = (files.size > 0) & (files.size <= MOST_FILE_BYTES) & (known < 0)
    for start, stop in borders(np.where(readable, files.size, 0)):
        rows = known[start:stop]
        batch = recalled(rows, earlier)
        for place in np.flatnonzero(rows < 0).tolist():
            if readable[start + place]:
                batch.asked.append(place)
            else:
                batch.known.reason[place] = unreadable(files, start + place)
        yield Batch(batch.known, batch.asked, Question(paths=[files.path(start + p) for p in batch.asked]), batch.data)


def unreadable(files: Files, row: int) -> str:
    """Say why a file need not be opened at all."""
    size = int(files.size[row])
    if size < 0:
        return "missing: there is no such file" if files.uri[row] else "missing: the row names no file"
    return "empty: 0 bytes" if size == 0 else f"oversize: {size} bytes, at most {MOST_FILE_BYTES} are allowed"


def borders(sizes: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Cut rows into batches of at most BATCH_ROWS rows and about BATCH_BYTES bytes."""
    total, start = np.cumsum(sizes), 0
    while start < len(sizes):
        before = int(total[start - 1]) if start else 0
        full = int(np.searchsorted(total, before + BATCH_BYTES, side="right"))
        stop = min(start + BATCH_ROWS, max(full, start + 1), len(sizes))
        yield start, stop
        start = stop


def recalled(rows: NDArray[np.int64], earlier: Earlier | None) -> Batch:
    """Copy what is known about earlier rows; -1 leaves a placeholder."""
    count = len(rows)
    known = Answer([""] * count, [0] * count, [0] * count, [""] * count, [0] * count)
    data: list[Data | None] = [None] * count
    places = np.flatnonzero(rows >= 0)
    if earlier is not None and len(places):
        answer = earlier.answer(rows[places])
        for order, place in enumerate(places.tolist()):
            known.sha256[place], known.reason[place] = answer.sha256[order], answer.reason[order]
            known.width[place], known.height[place] = answer.width[order], answer.height[order]
            known.lengths[place] = answer.lengths[order]
            data[place] = reader(earlier, int(rows[place]))
    return Batch(known, [], Question(), data)


def reader(earlier: Earlier, row: int) -> Callable[[], bytes]:
    """Bring the bytes of an earlier row only when a shard needs them."""
    return lambda: earlier.images.read(row)


def pack_batches(packs: list[Pack], earlier: Earlier | None) -> Iterator[Batch]:
    """Ask about embedded images; those of an unchanged file are not read at all."""
    for pack in packs:
        rows = earlier.pack(pack) if earlier else np.empty(0, np.int64)
        if len(rows):
            for start in range(0, len(rows), BATCH_ROWS):
                yield recalled(rows[start : start + BATCH_ROWS], earlier)
            continue
        for blobs in pack.read():
            yield blob_batch(blobs, earlier)


def blob_batch(blobs: Blobs, earlier: Earlier | None) -> Batch:
    """Ask about bytes at hand, unless an earlier run decoded the same ones."""
    rows = np.full(len(blobs), -1, np.int64)
    if earlier is not None:
        nothing = "-"  # is no checksum, so that it is never found
        rows = earlier.contents([hashlib.sha256(b).hexdigest() if b else nothing for b in blobs])
    batch = recalled(rows, earlier)
    for place in np.flatnonzero(rows < 0).tolist():
        blob = blobs[place]
        if blob:
            batch.asked.append(place)
            batch.data[place] = blob
        else:
            batch.known.reason[place] = "missing: the row holds no image" if blob is None else "empty: 0 bytes"
    question = Question(blobs=[blobs[p] or b"" for p in batch.asked])
    return Batch(batch.known, batch.asked, question, batch.data)
