"""Thumbnails of samples, as data URIs that a page can hold."""

import base64
import io

from PIL import Image

from pipeline.datasets.images import ImageRows
from pipeline.errors import DataError
from stages.images.decode import BrokenImageError, decode_image

TINY = 28
LOSSLESS_UP_TO = 40  # pixels; below this PNG is small, and JPEG would blur what little there is


class Pictures:
    """Small pictures of samples, decoded when asked for."""

    def __init__(self, images: ImageRows, side: int) -> None:
        self._images = images
        self._side = side
        self._tiny: dict[str, str | None] = {}
        self._row = {sample_id: row for row, sample_id in enumerate(images.sample_ids) if images.ok[row]}

    def of(self, sample_id: str) -> str | None:
        """Return a thumbnail as a data URI, None where the row has no readable picture."""
        picture = self.small(sample_id)
        return None if picture is None else data_uri(picture)

    def tiny(self, sample_id: str) -> str | None:
        """Return a thumbnail of a few hundred bytes."""
        if sample_id not in self._tiny:
            picture = self.small(sample_id, TINY)
            self._tiny[sample_id] = None if picture is None else data_uri(picture, 60)
        return self._tiny[sample_id]

    def small(self, sample_id: str, side: int = 0) -> Image.Image | None:
        """Decode a picture and shrink it; a file that was changed since is shown as missing."""
        row = self._row.get(sample_id)
        if row is None:
            return None
        try:
            return shrunk(self._images.read(row), side or self._side)
        except (DataError, BrokenImageError):
            return None


def shrunk(data: bytes, side: int) -> Image.Image:
    """Decode a picture and make its longer side at most `side`."""
    picture = decode_image(data)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return picture


def data_uri(picture: Image.Image, quality: int = 82) -> str:
    """Encode a small picture into a page."""
    lossless = max(picture.size) <= LOSSLESS_UP_TO and quality > 80
    buffer = io.BytesIO()
    picture.save(buffer, "PNG" if lossless else "JPEG", optimize=True, quality=quality)
    kind = "png" if lossless else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
