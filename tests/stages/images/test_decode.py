"""One image, many encodings: the same upright RGB."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.images.decode import BrokenImageError, decode

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True}), ("BMP", {}), ("TIFF", {}), ("PPM", {})]
)
def test_lossless_formats_give_the_same_pixels(kind: str, options: dict[str, Any]) -> None:
    found = decode(encode(Image.fromarray(PIXELS), kind, **options))
    np.testing.assert_array_equal(found, PIXELS)
    assert found.dtype == np.uint8
    assert found.flags.writeable


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_is_close_in_every_mode(mode: str) -> None:
    smooth = np.broadcast_to(np.linspace(0, 255, 32, dtype=np.uint8)[:, None, None], (32, 32, 3))
    found = decode(encode(Image.fromarray(smooth).convert(mode), "JPEG", quality=95))
    assert np.abs(found.astype(int) - smooth).max() < 12


def test_grey_and_bits_become_three_channels() -> None:
    grey = PIXELS[:, :, 0]
    np.testing.assert_array_equal(decode(encode(Image.fromarray(grey))), np.repeat(grey[:, :, None], 3, axis=2))
    bits = Image.fromarray(grey > 127)
    np.testing.assert_array_equal(decode(encode(bits))[:, :, 0], np.where(grey > 127, 255, 0))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_over_white(mode: str) -> None:
    image = Image.fromarray(PIXELS).convert("L").convert(mode)
    image.putalpha(Image.fromarray(np.tile(np.array([0, 255, 51, 0, 255, 0, 255], np.uint8), (5, 1))))
    found = decode(encode(image))
    grey = np.asarray(Image.fromarray(PIXELS).convert("L")).astype(float)
    np.testing.assert_array_equal(found[:, 0], 255)
    np.testing.assert_array_equal(found[:, 1, 0], grey[:, 1])
    assert np.abs(found[:, 2, 0] - (255 * 0.8 + grey[:, 2] * 0.2)).max() <= 1


def test_transparent_palette_and_transparent_colour_are_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    assert decode(encode(image, transparency=0)).tolist() == [[[255, 255, 255], [40, 50, 60]]]
    rgb = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    assert decode(encode(rgb, transparency=(1, 2, 3))).tolist() == [[[255, 255, 255], [4, 5, 6]]]


def test_sixteen_bits_keep_the_high_byte() -> None:
    grey = np.array([[0, 255, 256, 0x1234, 65535]], np.uint16)
    for kind in ("PNG", "TIFF"):
        assert decode(encode(Image.fromarray(grey), kind))[0, :, 0].tolist() == [0, 0, 1, 0x12, 255]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    quadrants = np.zeros((32, 48, 3), np.uint8)
    quadrants[:16, :24], quadrants[:16, 24:], quadrants[16:, :24] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    upright = {
        1: quadrants, 2: quadrants[:, ::-1], 3: quadrants[::-1, ::-1], 4: quadrants[::-1],
        5: quadrants.swapaxes(0, 1), 6: np.rot90(quadrants, -1), 7: quadrants[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(quadrants),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    found = decode(encode(Image.fromarray(quadrants), kind, exif=exif, **options))
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).mean() < 3


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [Image.new("RGB", (3, 2), colour) for colour in ("red", "blue")]
    data = encode(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert decode(data)[0, 0].tolist() == [255, 0, 0]


PNG = encode(Image.fromarray(PIXELS))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello", "not an image"),
        (b"\x89PNG\r\n\x1a\n and no more", "not an image"),
        (PNG[: len(PNG) // 2], "cannot be decoded: "),
        (encode(Image.fromarray(PIXELS), "JPEG")[:-40], "truncated"),
        (encode(Image.fromarray(PIXELS), "WEBP")[:-20], "cannot be decoded|not an image"),
        (encode(Image.fromarray(np.ones((2, 2), np.float32)), "TIFF"), "floating-point"),
    ],
)
def test_broken_images_say_why(data: bytes, reason: str) -> None:
    with pytest.raises(BrokenImageError, match=reason):
        decode(data)


def test_a_bomb_is_refused_by_its_header() -> None:
    bomb = encode(Image.new("1", (20_000, 20_000)))
    assert len(bomb) < 100_000
    with pytest.raises(BrokenImageError, match="oversize: 20000 × 20000 pixels, at most 89478485"):
        decode(bomb)
    with pytest.raises(BrokenImageError, match="at most 34"):
        decode(PNG, max_pixels=34)
    assert decode(PNG, max_pixels=35).shape == (5, 7, 3)
