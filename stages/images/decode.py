"""Decode encoded images, everywhere by the same rules.

The result is RGB, eight bits a channel, upright:
- the EXIF orientation is applied; of an animation the first frame counts;
- transparency (alpha, or a transparent colour) is laid over white;
- grey becomes three equal channels, a palette its colours; CMYK, YCbCr and HSV are converted; ICC profiles are ignored;
- 16-bit samples keep their high byte (Pillow does the same where it reads 16-bit RGB);
- floating-point pixels, which have no agreed range, and formats other than FORMATS are refused.
"""

import io
from typing import TYPE_CHECKING

from PIL import Image, UnidentifiedImageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DECODE_VERSION = 1
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
SIGNATURES = ((b"\xff\xd8", "JPEG"), (b"\x89PNG", "PNG"), (b"RIFF", "WEBP"), (b"GIF8", "GIF"), (b"BM", "BMP"))
MAX_PIXELS = 89_478_485
ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Image.MAX_IMAGE_PIXELS = None  # our own limit is an argument, and a broken image is no warning


class BrokenImageError(Exception):
    """The bytes are no image that can be used; the message is the reason in a few words."""


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> "NDArray[np.uint8]":
    """Decode encoded bytes to RGB [height, width, 3]; BrokenImageError says why that is impossible."""
    import numpy as np  # ingest's workers decode without it

    return np.array(decode_image(data, max_pixels))


def decode_image(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode encoded bytes to an upright RGB image of Pillow."""
    if not data:
        raise BrokenImageError("empty: 0 bytes")
    try:
        with Image.open(io.BytesIO(data), formats=guess_formats(data)) as image:
            refuse_bomb(image, max_pixels)
            image.load()
            return upright(image)
    except (MemoryError, BrokenImageError):
        raise
    except UnidentifiedImageError as error:
        raise BrokenImageError("not an image in a known format") from error
    except Exception as error:  # decoders raise OSError, ValueError, SyntaxError, struct.error, IndexError, ...
        raise BrokenImageError(f"cannot be decoded: {one_line(error)}") from error


def refuse_bomb(image: Image.Image, max_pixels: int) -> None:
    """Refuse an image by its header, before any of its pixels is decoded."""
    width, height = image.size
    if width * height > max_pixels:
        raise BrokenImageError(f"oversize: {width} × {height} pixels, at most {max_pixels} are allowed")


def guess_formats(data: bytes) -> tuple[str, ...]:
    """Name the decoders worth trying, by the first bytes."""
    for signature, name in SIGNATURES:
        if data.startswith(signature):
            return (name,)
    return FORMATS


def upright(image: Image.Image) -> Image.Image:
    """Turn a loaded image as its EXIF data says, and convert it to RGB."""
    turn = TURNS.get(image.getexif().get(ORIENTATION, 1)) if "exif" in image.info or image.format == "TIFF" else None
    rgb = to_rgb(image)
    return rgb if turn is None else rgb.transpose(turn)


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB by the rules of this module."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "F":
        raise BrokenImageError("floating-point pixels have no agreed range")
    if image.mode.startswith("I"):
        image = high_byte(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        paper = Image.new("RGBA", layer.size, "white")
        image = Image.alpha_composite(paper, layer)
    return image.convert("RGB")


def high_byte(image: Image.Image) -> Image.Image:
    """Reduce grey of 16 bits (or of 32 that hold 16) to eight."""
    import numpy as np

    grey = np.clip(np.asarray(image, dtype=np.int64), 0, 65535) >> 8
    return Image.fromarray(grey.astype(np.uint8))


def one_line(error: Exception) -> str:
    """Say a decoder's complaint in one line without object addresses."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.split("<_io.", 1)[0].strip()[:120]
