"""A worker process of ingest: batches come on stdin, answers go to stdout; it ends when its parent closes or dies.

A message is one line of JSON and the bytes it announces. Only Pillow is imported, so that it starts at once.
"""

import contextlib
import ctypes
import hashlib
import json
import os
import signal
import sys
from typing import Any, BinaryIO

from stages.images.decode import BrokenImageError, decode_image

PDEATHSIG = 1


def main() -> None:
    """Answer batches until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    die_with_parent(int(sys.argv[1]))
    while (header := receive(sys.stdin.buffer)) is not None:
        answer, data = examine(*header)
        send(sys.stdout.buffer, answer, data)


def die_with_parent(parent: int) -> None:
    """End even in the middle of a batch when the parent is killed."""
    with contextlib.suppress(OSError, AttributeError):  # only Linux knows prctl; a closed pipe ends us elsewhere
        ctypes.CDLL(None).prctl(PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def examine(order: dict[str, Any], data: memoryview) -> tuple[dict[str, Any], list[bytes | memoryview]]:
    """Hash and decode a batch: {paths, keep} or {lengths} with the bytes; answer in columns."""
    answer: dict[str, Any] = {"sha256": [], "width": [], "height": [], "reason": [], "lengths": []}
    kept: list[bytes | memoryview] = []
    for image, reason in load(order, data):
        width, height, reason = (0, 0, reason) if reason else look(bytes(image), order["max_pixels"])
        answer["sha256"].append(hashlib.sha256(image).hexdigest() if len(image) else "")
        answer["width"].append(width)
        answer["height"].append(height)
        answer["reason"].append(reason)
        answer["lengths"].append(len(image))
        if order.get("keep"):
            kept.append(image)
    return answer, kept


def load(order: dict[str, Any], data: memoryview) -> Any:
    """Go through the encoded images of a batch, each with what prevented reading it."""
    for path in order.get("paths", ()):
        try:
            with open(path, "rb") as file:  # noqa: PTH123 (pathlib is not loaded here)
                yield file.read(), ""
        except OSError as error:
            yield b"", f"cannot be read: {error.strerror}"
    start = 0
    for length in order.get("lengths", ()):
        yield data[start : start + length], ""
        start += length


def look(data: bytes, max_pixels: int) -> tuple[int, int, str]:
    """Decode one image: its width, height and '' or the reason why it is broken."""
    try:
        return (*decode_image(data, max_pixels).size, "")
    except BrokenImageError as error:
        return 0, 0, str(error)


def send(stream: BinaryIO, header: dict[str, Any], data: list[Any]) -> None:
    """Write one message."""
    header = header | {"bytes": sum(len(d) for d in data)}
    stream.write(json.dumps(header).encode() + b"\n")
    stream.writelines(data)
    stream.flush()


def receive(stream: BinaryIO) -> tuple[dict[str, Any], memoryview] | None:
    """Read one message; None where the other side is gone."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    header = json.loads(line)
    data = stream.read(header["bytes"])
    return None if len(data) < header["bytes"] else (header, memoryview(data))


if __name__ == "__main__":
    main()
