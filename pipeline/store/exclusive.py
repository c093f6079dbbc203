"""Exclusive creation on an fsspec file system: the one promise on which the race of two writers rests."""

import time
import uuid
from contextlib import suppress
from typing import Any

from pipeline.errors import StoreError
from pipeline.store.faults import service_code

REFUSED = ("PreconditionFailed", "412")
BUSY = ("ConditionalRequestConflict", "OperationAborted")
TRIES = 6


def put_new(fs: Any, place: str, content: bytes) -> bool:
    """Write an object that must not exist yet (on S3 a put with If-None-Match: *); False where it does."""
    for attempt in range(TRIES):
        try:
            fs.pipe_file(place, content, mode="create")
        except FileExistsError:
            return False
        except OSError as error:
            if service_code(error) in REFUSED:
                return False
            if service_code(error) not in BUSY:
                raise
            time.sleep(0.1 * 2**attempt)
        else:
            return True
    raise StoreError(f"{place} was held by other writers {TRIES} times.", "Run again.")


def probe(fs: Any, folder: str, url: str) -> None:
    """Create one name twice: a file system that lets both pass would let two writers win, and is refused."""
    place = f"{folder}/.probe-{uuid.uuid4().hex}"
    try:
        passed = put_new(fs, place, b"1") and not put_new(fs, place, b"2")
    except (NotImplementedError, TypeError, ValueError):
        passed = False
    finally:
        with suppress(Exception):
            fs.rm_file(place)
    if not passed:
        raise StoreError(
            f"store {url} cannot create an object exclusively: of two creates of one name the second did not fail.",
            "Use a folder, or an S3 service that honours If-None-Match.",
        )
