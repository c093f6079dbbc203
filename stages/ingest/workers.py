"""Worker processes that hash and decode; a batch that kills its worker is halved until the guilty image is known."""

import hashlib
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from stages.ingest.worker import receive, send

Bytes = bytes | memoryview


@dataclass
class Answer:
    """What workers found out about images, in order; `data` holds the bytes where they were read and asked for."""

    sha256: list[str] = field(default_factory=list)
    width: list[int] = field(default_factory=list)
    height: list[int] = field(default_factory=list)
    reason: list[str] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    data: list[Bytes] = field(default_factory=list)

    def extend(self, other: "Answer") -> "Answer":
        """Add the answers on further images."""
        for name, values in vars(other).items():
            getattr(self, name).extend(values)
        return self


@dataclass(frozen=True)
class Question:
    """Images to examine: files by path, or bytes at hand."""

    paths: Sequence[str] = ()
    blobs: Sequence[Bytes] = ()

    def __len__(self) -> int:
        return len(self.paths) + len(self.blobs)

    def part(self, start: int, stop: int) -> "Question":
        """Take some of the images."""
        return Question(self.paths[start:stop], self.blobs[start:stop])


class Asking(Protocol):
    """Whatever brings a question."""

    @property
    def question(self) -> Question:
        """Return the images to examine."""


A = TypeVar("A", bound=Asking)


class Workers:
    """A fixed number of worker processes; they end with the `with` block, and with this process, however it ends."""

    def __init__(self, count: int, max_pixels: int, keep: bool) -> None:
        self._order = {"max_pixels": max_pixels, "keep": keep}
        self._count = count
        self._threads = ThreadPoolExecutor(count)
        self._idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        while not self._idle.empty():
            end_worker(self._idle.get())

    def map(self, batches: Iterable[A]) -> Iterator[tuple[A, Answer]]:
        """Examine batches side by side, and return them in order; few are in memory at a time."""
        window: deque[tuple[A, Future[Answer]]] = deque()
        for batch in batches:
            window.append((batch, self._threads.submit(self.examine, batch.question)))
            while len(window) > 2 * self._count or (window and window[0][1].done()):
                ready, answer = window.popleft()
                yield ready, answer.result()
        for ready, answer in window:
            yield ready, answer.result()

    def examine(self, question: Question) -> Answer:
        """Have one worker examine a batch."""
        if not len(question):
            return Answer()
        answer = self._ask(question)
        if answer is not None:
            return answer
        if len(question) == 1:
            return guilty(question, bool(self._order["keep"]))
        middle = len(question) // 2
        return self.examine(question.part(0, middle)).extend(self.examine(question.part(middle, len(question))))

    def _ask(self, question: Question) -> Answer | None:
        try:
            worker = self._idle.get_nowait()
        except Empty:  # as many workers as threads, and none before there is work
            worker = start_worker()
        found = exchange(worker, self._order | describe(question), question.blobs)
        if found is None:
            end_worker(worker)
            return None
        self._idle.put(worker)
        return unpack(*found)


def describe(question: Question) -> dict[str, Any]:
    """Say in a message's header what is asked."""
    if question.paths:
        return {"paths": list(question.paths)}
    return {"lengths": [len(blob) for blob in question.blobs], "keep": False}  # the bytes are here already


def exchange(
    worker: subprocess.Popen[bytes], order: dict[str, Any], data: Sequence[Bytes]
) -> tuple[dict[str, Any], memoryview] | None:
    """Send a batch and wait for the answer; None where the worker died."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        send(worker.stdin, order, list(data))  # type: ignore[arg-type]
        return receive(worker.stdout)  # type: ignore[arg-type]
    except (BrokenPipeError, ValueError):
        return None


def unpack(header: dict[str, Any], data: memoryview) -> Answer:
    """Cut the bytes of an answer into images."""
    answer = Answer(header["sha256"], header["width"], header["height"], header["reason"], header["lengths"])
    start = 0
    if len(data):
        for length in answer.lengths:
            answer.data.append(data[start : start + length])
            start += length
    return answer


def guilty(question: Question, keep: bool) -> Answer:
    """Quarantine the image that killed its worker."""
    data = question.blobs[0] if question.blobs else Path(question.paths[0]).read_bytes()
    kept: list[Bytes] = [data] if keep and question.paths else []
    return Answer([hashlib.sha256(data).hexdigest()], [0], [0], ["decoding it killed the decoder"], [len(data)], kept)


def start_worker() -> subprocess.Popen[bytes]:
    """Start one worker process."""
    command = [sys.executable, "-P", "-m", "stages.ingest.worker", str(os.getpid())]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=1 << 20)


def end_worker(worker: subprocess.Popen[bytes]) -> None:
    """End one worker process and wait for it."""
    worker.kill()
    worker.communicate()
