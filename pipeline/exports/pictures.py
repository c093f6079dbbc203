"""The encoded images of rows, as they came, and names for them that every file system takes."""

import re
from collections.abc import Iterator

from pipeline.errors import ConfigError, DataError
from pipeline.labelled import Labelled

SIGNATURES = (
    (b"\x89PNG", "png"), (b"\xff\xd8", "jpg"), (b"GIF8", "gif"), (b"BM", "bmp"), (b"RIFF", "webp"),
    (b"II*\0", "tif"), (b"MM\0*", "tif"),
)  # fmt: skip
MEDIA = {"jpg": "jpeg", "tif": "tiff"}
LONGEST = 80


def pictures(labelled: Labelled) -> Iterator[tuple[int, bytes]]:
    """Go through the rows that have a readable image: place among these rows, encoded bytes."""
    if labelled.images is None:
        return
    for place, row in enumerate(labelled.rows.tolist()):
        if labelled.images.ok[row]:
            yield place, labelled.images.read(row)


def needs_pictures(labelled: Labelled, form: str) -> None:
    """Refuse a form of images for rows that have none."""
    if labelled.images is None:
        raise ConfigError(
            f"{form} needs images, and none belong to this label table.",
            "Point at the table inside its store (or name it by --store), or choose csv or jsonl.",
        )


def suffix(data: bytes) -> str:
    """Tell the format of an encoded image by its first bytes."""
    found = next((name for start, name in SIGNATURES if data.startswith(start)), None)
    if found is None:
        raise DataError(f"an image begins with {data[:4]!r}, which is no known format.", "Export another form.")
    return found


def media_type(data: bytes) -> str:
    """Name the media type of an encoded image."""
    name = suffix(data)
    return f"image/{MEDIA.get(name, name)}"


def safe_name(text: str) -> str:
    """Turn any text into part of a file name: no separators, no control signs, no leading dot, not long."""
    clean = re.sub(r"[^\w.\- ]+", "_", text).strip(" ._")
    while len(clean.encode()) > LONGEST:
        clean = clean[:-1]
    return clean or "_"


def folder_names(classes: list[str]) -> list[str]:
    """Name a folder for each class; two classes never share one, not even where case does not count."""
    names: list[str] = []
    taken: set[str] = set()
    for number, name in enumerate(classes):
        folder = safe_name(name)
        if folder.casefold() in taken:
            folder = f"{folder}-{number}"
        taken.add(folder.casefold())
        names.append(folder)
    return names
