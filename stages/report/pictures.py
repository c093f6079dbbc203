"""Thumbnails from the store, as data URIs for the page and as a contact sheet for the Prefect UI."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont

from pipeline.datasets.images import ImageRows
from pipeline.errors import DataError
from stages.images.decode import BrokenImageError, decode_image
from stages.report.words import clip

LOSSLESS_UP_TO = 40  # pixels; below this PNG is small, and JPEG would blur what little there is
SHEET_SIDE, SHEET_LINE = 48, 18


class Pictures:
    """Small pictures of samples, decoded when asked for."""

    def __init__(self, images: ImageRows, side: int) -> None:
        self._images = images
        self._side = side
        self._row = {sample_id: row for row, sample_id in enumerate(images.sample_ids) if images.ok[row]}

    def of(self, sample_id: str) -> str | None:
        """Return a thumbnail as a data URI, None where the row has no readable picture."""
        picture = self.small(sample_id)
        return None if picture is None else data_uri(picture)

    def small(self, sample_id: str) -> Image.Image | None:
        """Decode a picture and shrink it; a file that was changed since is shown as missing."""
        row = self._row.get(sample_id)
        if row is None:
            return None
        try:
            return shrunk(self._images.read(row), self._side)
        except (DataError, BrokenImageError):
            return None


def shrunk(data: bytes, side: int) -> Image.Image:
    """Decode a picture and make its longer side at most `side`."""
    picture = decode_image(data)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return picture


def data_uri(picture: Image.Image) -> str:
    """Encode a small picture into a page."""
    lossless = max(picture.size) <= LOSSLESS_UP_TO
    buffer = io.BytesIO()
    picture.save(buffer, "PNG" if lossless else "JPEG", optimize=True, quality=82)
    kind = "png" if lossless else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def contact_sheet(groups: Sequence[tuple[str, Sequence[Image.Image]]]) -> bytes:
    """Lay out one line of pictures a group, with its name above, as a PNG of few colours."""
    widest = max((len(pictures) for _, pictures in groups), default=1)
    step = SHEET_SIDE + 4
    sheet = Image.new("RGB", (max(widest * step, 6 * step) + 4, len(groups) * (step + SHEET_LINE) + 4), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.truetype(str(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), 12)  # it has an arrow
    for line, (name, pictures) in enumerate(groups):
        top = line * (step + SHEET_LINE) + 4
        draw.text((4, top), clip(name, 48), fill="#222222", font=font)
        for place, picture in enumerate(pictures):
            tile = fitted(picture)
            sheet.paste(tile, (4 + place * step, top + SHEET_LINE - 2))
    buffer = io.BytesIO()
    sheet.quantize(128).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def fitted(picture: Image.Image) -> Image.Image:
    """Scale a picture to the sheet's side; tiny ones keep their pixels sharp."""
    scale = SHEET_SIDE / max(picture.size)
    size = tuple(int(n) for n in np.maximum(np.round(np.asarray(picture.size) * scale), 1))
    return picture.resize((size[0], size[1]), Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)
