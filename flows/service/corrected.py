"""The corrections that say most, as one small sheet of pictures."""

import io
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image, ImageDraw, ImageFont

from pipeline.artifacts import Artifact, Ref
from pipeline.datasets.images import open_images
from pipeline.labels import LABELS_FILE, read_labels
from pipeline.store import Store

PICTURES, ACROSS = 12, 4
SIDE, MARGIN, LINE = 112, 8, 15
MAX_BYTES = 140_000  # of the PNG; a third more as text
LETTERS = 18


def corrected_sheet(store: Store, labels: Ref) -> bytes | None:
    """Draw the twelve corrections that the table is surest of; None where there are no pictures or no corrections."""
    artifact = store.get(labels)
    images = images_behind(store, artifact)
    rows = surest(read_labels(artifact.path(LABELS_FILE)))
    if images is None or not rows:
        return None
    known = open_images(images)
    place = {sample: number for number, sample in enumerate(known.sample_ids)}
    drawn = [
        (known.read(place[row["sample_id"]]), f"{row['given_name']} → {row['purified_name']}")
        for row in rows
        if row["sample_id"] in place and known.ok[place[row["sample_id"]]]
    ]
    return small_enough(drawn) if drawn else None


def images_behind(store: Store, labels: Artifact) -> Artifact | None:
    """Find the images whose features a label table rests on."""
    features = labels.manifest.inputs.get("features")
    made = store.find(features.kind, features.key) if features else None
    images = made.manifest.inputs.get("images") if made else None
    return store.find(images.kind, images.key) if images else None


def surest(table: pa.Table) -> list[dict[str, str]]:
    """Pick the relabelled rows whose new label is surest and whose old one is least so."""
    changed = table.filter(pc.equal(pc.cast(table["action"], pa.string()), "relabel"))
    gained = pc.subtract(pc.fill_null(changed["confidence"], 0.0), pc.fill_null(changed["given_confidence"], 0.0))
    order = np.argsort(-np.asarray(gained.to_numpy()), kind="stable")[:PICTURES]
    columns = ["sample_id", "given_name", "purified_name"]
    return [dict(row) for row in changed.select(columns).take(pa.array(order)).to_pylist()]


def small_enough(drawn: list[tuple[bytes, str]]) -> bytes | None:
    """Draw the sheet, smaller until it fits into a page."""
    for side in (SIDE, SIDE * 2 // 3, SIDE // 2):
        made = sheet(drawn, side)
        if len(made) <= MAX_BYTES:
            return made
    return None


def sheet(drawn: list[tuple[bytes, str]], side: int) -> bytes:
    """Lay out pictures in rows of four, each with its old and its new label below."""
    width, height = max(side, SIDE) + MARGIN, side + LINE + MARGIN
    canvas = Image.new("RGB", (ACROSS * width + MARGIN, math.ceil(len(drawn) / ACROSS) * height + MARGIN), "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.truetype(letters(), 11)
    for number, (content, words) in enumerate(drawn):
        left, top = MARGIN + number % ACROSS * width, MARGIN + number // ACROSS * height
        with Image.open(io.BytesIO(content)) as picture:
            picture.draft("RGB", (2 * side, 2 * side))
            shown = picture.convert("RGB")
        scale = side / max(shown.size)
        shown = shown.resize((max(1, round(shown.width * scale)), max(1, round(shown.height * scale))))
        canvas.paste(shown, (left, top))
        pen.text((left, top + side + 1), shortened(words), fill="#333333", font=font)
    file = io.BytesIO()
    canvas.quantize(128).save(file, "PNG", optimize=True)
    return file.getvalue()


def letters() -> Path:
    """Find a font that has arrows and other alphabets: the one that matplotlib brings."""
    from matplotlib import get_data_path

    return Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")


def shortened(words: str) -> str:
    """Keep a caption below its picture."""
    given, _, new = words.partition(" → ")
    half = LETTERS // 2
    return " → ".join(part if len(part) <= half else part[: half - 1] + "…" for part in (given, new))
