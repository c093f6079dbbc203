"""Pictures laid out as a contact sheet for the Prefect UI."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont

from stages.report.words import clip

SHEET_SIDE, SHEET_LINE = 48, 18


def contact_sheet(groups: Sequence[tuple[str, Sequence[Image.Image]]]) -> bytes:
    """Lay out one line of pictures a group, with its name above, as a PNG of few colours."""
    widest = max((len(pictures) for _, pictures in groups), default=1)
    step = SHEET_SIDE + 4
    sheet = Image.new("RGB", (max(widest * step, 6 * step) + 4, len(groups) * (step + SHEET_LINE) + 4), "white")
    draw = ImageDraw.Draw(sheet)
    letters = str(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))  # they have an arrow
    font = ImageFont.truetype(letters, 12, layout_engine=ImageFont.Layout.BASIC)  # the other one needs a system library
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
