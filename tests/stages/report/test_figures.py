"""The plots: any name, any number of classes, the page's own ink."""

import io
import xml.etree.ElementTree as ET

import numpy as np
from PIL import Image

from stages.images.thumbnails import data_uri, shrunk
from stages.report.core import Reliability
from stages.report.figures import INK, bars, calibration, heat_map, png, svg
from stages.report.pictures import contact_sheet


def test_a_heat_map_writes_every_share_and_every_name_as_text(hostile: list[str]) -> None:
    count = len(hostile)
    transition = 0.6 * np.eye(count) + 0.4 * np.roll(np.eye(count), 1, axis=1)
    text = svg(lambda: heat_map(transition, hostile), "noise")
    root = ET.fromstring(text)
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert words.count("60") == words.count("40") == count
    assert "<script>alert(1…" in words
    assert "\"q\" & 'k' $x_1$" in words
    assert INK not in text
    assert "currentColor" in text
    assert "<metadata>" not in text


def test_figures_are_the_same_each_time() -> None:
    points = [Reliability(0.5, 0.4, 10), Reliability(0.9, 0.8, 30)]
    assert svg(lambda: calibration(points), "c") == svg(lambda: calibration(points), "c")
    assert png(lambda: calibration(points)) == png(lambda: calibration(points))


def test_pngs_are_small(hostile: list[str]) -> None:
    names = [*hostile, *(f"class {i}" for i in range(24))]
    transition = np.full((30, 30), 1 / 30)
    assert len(png(lambda: heat_map(transition, names))) < 200_000
    assert len(png(lambda: bars([0.5] * 30, names, "noise"))) < 200_000


def test_pictures_are_shrunk_and_tiny_ones_kept_exactly() -> None:
    large = Image.effect_noise((400, 200), 90).convert("RGB")
    assert shrunk(encoded(large), 72).size == (72, 36)
    assert data_uri(shrunk(encoded(large), 72)).startswith("data:image/jpeg;base64,")
    tiny = Image.effect_noise((8, 8), 90).convert("RGB")
    assert shrunk(encoded(tiny), 72).tobytes() == tiny.tobytes()
    assert data_uri(tiny).startswith("data:image/png;base64,")


def test_a_contact_sheet_of_noise_is_below_200_kb(hostile: list[str]) -> None:
    noise = [Image.effect_noise((72, 50), 120).convert("RGB")] * 8
    sheet = contact_sheet([(name, noise) for name in hostile])
    assert len(sheet) < 200_000
    assert Image.open(io.BytesIO(sheet)).size[0] >= 8 * 48


def encoded(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
