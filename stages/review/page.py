"""The reviewer: one page that works from a file, holds its rows as JSON, and saves decisions as a file."""

import base64
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stages.images.thumbnails import Pictures, data_uri
from stages.review.config import ReviewConfig
from stages.review.evidence import Evidence

HERE = Path(__file__).parent
FIRST_COLUMNS = 6
LONGEST_TEXT = 2000
SMALL_SIDE = 56
LIKELY = 5


@dataclass(frozen=True)
class Shown:
    """The rows to show, in order, and whether each was drawn evenly."""

    evidence: Evidence
    rows: list[int]
    drawn: list[bool]
    pictures: Pictures | None
    review: str


def page(shown: Shown, config: ReviewConfig) -> str:
    """Render the page; no word of the data can become markup or code in it."""
    annotations = shown.evidence.annotations
    record = {
        "review": shown.review,
        "dataset": annotations.dataset,
        "classes": annotations.class_names,
        "rows": [row_record(shown, place, config) for place in range(len(shown.rows))],
    }
    script = (HERE / "page.js").read_text(encoding="utf-8")
    return environment().get_template("page.html.j2").render(
        css=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        allowed=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
        data=Markup(as_script_data(record)),
        dataset=annotations.dataset,
        count=len(shown.rows),
    )  # fmt: skip


def as_script_data(record: object) -> str:
    """Write JSON that can stand inside a script element."""
    text = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def row_record(shown: Shown, place: int, config: ReviewConfig) -> dict[str, Any]:
    """Say of one row what the page shows."""
    evidence, row = shown.evidence, shown.rows[place]
    sample = evidence.annotations.sample_ids[row]
    return {
        "id": sample,
        "given": int(evidence.annotations.given[row]),
        "suggested": int(evidence.suggested[row]) if evidence.table is not None else -1,
        "likely": likely(evidence, row),
        "picture": shown.pictures.of(sample) if shown.pictures else None,
        "fields": fields(evidence, row, config.columns),
        "near": [near_record(shown, int(other)) for other in evidence.neighbours.indices[row][: config.neighbours]
                 if other >= 0],
        "drawn": shown.drawn[place],
    }  # fmt: skip


def likely(evidence: Evidence, row: int) -> list[list[float]]:
    """List the best classes with their probabilities."""
    if evidence.table is None:
        return []
    labels, probs = (evidence.table[name][row].as_py() for name in ("top_labels", "top_probs"))
    return [[label, round(prob, 4)] for label, prob in list(zip(labels, probs, strict=True))[:LIKELY]]


def fields(evidence: Evidence, row: int, columns: tuple[str, ...]) -> list[list[str]]:
    """Read the user's own columns of a row, which stand in dataset order."""
    own = evidence.annotations.own
    if own is None:
        return []
    there = [name for name in own.column_names if name != "sample_id"]
    chosen = [name for name in columns if name in there] or there[:FIRST_COLUMNS]
    values = [(name, own[name][row].as_py()) for name in chosen]
    return [[name, str(value)[:LONGEST_TEXT]] for name, value in values if value not in (None, "")]


def near_record(shown: Shown, row: int) -> dict[str, Any]:
    """Say of a near row how it was labelled, and show it small."""
    annotations = shown.evidence.annotations
    trusted = int(annotations.trusted[row])
    picture = shown.pictures.small(annotations.sample_ids[row], SMALL_SIDE) if shown.pictures else None
    words = "" if shown.pictures else " · ".join(value for _, value in fields(shown.evidence, row, ()))
    return {
        "label": trusted if trusted >= 0 else int(annotations.given[row]), "trusted": trusted >= 0,
        "picture": data_uri(picture, 72) if picture else None, "words": words[:160],
    }  # fmt: skip


@cache
def environment() -> Environment:
    """Load the template; everything that is set into it is escaped."""
    return Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
