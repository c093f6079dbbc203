"""The sheet of corrections: the surest ones, small enough for a page."""

import io

import numpy as np
import pyarrow as pa
from PIL import Image

from flows.service.corrected import MAX_BYTES, PICTURES, small_enough, surest


def noise(side: int, seed: int) -> bytes:
    """Draw a picture that no compression makes small."""
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side * 2, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_the_surest_corrections_come_first_and_others_not_at_all() -> None:
    rows = {
        "sample_id": ["kept", "close", "sure", "new"],
        "action": ["keep", "relabel", "relabel", "relabel"],
        "confidence": [1.0, 0.6, 0.9, 0.95],
        "given_confidence": [1.0, 0.4, 0.1, None],
        "given_name": ["a", "a", "a", None],
        "purified_name": ["a", "b", "b", "b"],
    }
    assert [row["sample_id"] for row in surest(pa.table(rows))] == ["new", "sure", "close"]


def test_no_more_than_twelve_are_taken() -> None:
    rows = {"sample_id": [str(i) for i in range(40)], "action": ["relabel"] * 40, "confidence": [0.9] * 40}
    more = {"given_confidence": [0.1] * 40, "given_name": ["a"] * 40, "purified_name": ["b"] * 40}
    assert len(surest(pa.table({**rows, **more}))) == PICTURES


def test_a_sheet_of_large_noisy_pictures_still_fits_into_a_page() -> None:
    made = small_enough([(noise(300, i), "a name that is far too long → another") for i in range(PICTURES)])
    assert made is not None
    assert len(made) <= MAX_BYTES
    with Image.open(io.BytesIO(made)) as sheet:
        assert sheet.width < 600
