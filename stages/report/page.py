"""The page: sections and cards set by the template, within the size that was asked for."""

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from stages.images.thumbnails import Pictures
from stages.report import core, sections
from stages.report.cards import Budget, Card, CardMaker
from stages.report.config import ReportConfig
from stages.report.figures import svg
from stages.report.map import TILE, FeatureMap, drawn, sprite
from stages.report.rows import Indices
from stages.report.sections import Findings
from stages.report.words import clip, number, percent

LISTED_GROUPS = 200  # groups beyond the galleries, by name and count only
LONGEST_NAME = 300
LONGEST_WORDS = 120
ZOOM = 3  # of the map's pictures
SCRIPT = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Gallery:
    """A group of changes with the cards that stand for it."""

    given: str
    target: str
    count: int
    cards: list[Card]


@dataclass(frozen=True)
class Page:
    """The page, and how many chosen rows its size left no room for."""

    html: str
    left_out: int


def page(found: Findings, config: ReportConfig) -> Page:
    """Render the page; where it is too large, again with less room for cards."""
    limit = config.max_megabytes * 1e6
    maker = card_maker(found, config)
    fixed = fixed_parts(found, config, maker)
    room = limit
    while True:
        budget = Budget(room)
        parts = fixed | card_parts(found, config, maker, budget)
        html = template().render(**parts, left_out=budget.left_out)
        excess = len(html.encode()) - limit
        if excess <= 0 or room <= 0:
            return Page(html, budget.left_out)
        room = max(room - budget.left - 1.1 * excess, 0)


def card_maker(found: Findings, config: ReportConfig) -> CardMaker:
    """Choose the columns that stand beside a row."""
    own = found.own
    there = [] if own is None else [name for name in own.column_names if name != "sample_id"]
    columns = [name for name in config.columns if name in there] or there[:3]
    return CardMaker(found.rows, found.pictures, own if columns else None, columns, found.neighbours)


def fixed_parts(found: Findings, config: ReportConfig, maker: CardMaker) -> dict[str, Any]:
    """Make everything but the cards."""
    noise = sections.noise_figure(found)
    calibration = sections.calibration_figure(found)
    estimate = found.summary.get("noise") or {}
    figures = core.class_figures(found.rows, estimate.get("per_class"), estimate.get("classes") or ())
    return {
        "title": clip(found.title, LONGEST_NAME),
        "css": (Path(__file__).parent / "page.css").read_text(encoding="utf-8"),
        "found": found,
        "config": config,
        "verdict": found.verdict(),
        "tiles": sections.tiles(found),
        "actions": sections.actions(found),
        "comparison": sections.comparison(found),
        "cautions": [*found.encoder_warnings, *(str(warning) for warning in found.summary.get("warnings") or [])],
        "audit_words": sections.audit_words(found),
        "noise_words": sections.noise_words(found),
        "noise_svg": svg(noise[0], "noise") if noise else "",
        "noise_caption": noise[1] if noise else "",
        "warnings": (found.summary.get("noise") or {}).get("warnings") or [],
        "classes": [(clip(found.rows.classes[f.label], LONGEST_NAME), f) for f in figures[: core.MOST_CLASSES]],
        "calibration_svg": svg(calibration, "calibration") if calibration else "",
        "calibration_words": sections.calibration_words(found),
        "map": map_parts(found.map, maker, found.pictures) if found.map else None,
        "script": SCRIPT,
        "allowed": f"sha256-{base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()}",
        "model_words": sections.model_words(found),
        "model_bars": sections.model_bars(found),
    }


def card_parts(found: Findings, config: ReportConfig, maker: CardMaker, budget: Budget) -> dict[str, Any]:
    """Make the galleries and lists of rows, the most telling first, until the budget is spent."""
    rows = found.rows
    groups = core.groups_of_changes(rows, config.per_group)
    repeated = core.duplicates(rows)
    strange = core.strangest(rows, config.oddities)

    def cards(indices: Indices) -> list[Card]:
        return budget.fitting(maker.cards(indices))

    galleries = [
        Gallery(maker.name(g.given), maker.name(g.target), g.count, cards(g.shown)) for g in groups[: config.groups]
    ]
    return {
        "galleries": galleries,
        "more_groups": [
            (clip(maker.name(g.given), 40), clip(maker.name(g.target), 40), g.count) for g in groups[config.groups :]
        ][:LISTED_GROUPS],
        "groups": len(groups),
        "review": cards(core.most_uncertain(rows, config.review_rows)),
        "duplicates": budget.fitting(duplicate_cards(maker, repeated, config.oddities)),
        "duplicates_count": len(repeated.repeats),
        "duplicates_differ": repeated.differ,
        "outliers": cards(strange),
        "broken": [(clip(i, LONGEST_NAME), clip(r, LONGEST_NAME)) for i, r in found.broken[: config.oddities]],
        "broken_count": len(found.broken),
    }


def map_parts(found: FeatureMap, maker: CardMaker, pictures: Pictures | None) -> dict[str, Any]:
    """Make the map: points, colours, and what is told of each on hovering."""
    rows, ids = maker.rows, maker.rows.table["sample_id"].take(found.rows).to_pylist()
    every = dict(zip(found.rows.tolist(), ids, strict=True))
    sheet, columns = sprite(found, ids, pictures) if pictures else ("", 0)
    told = [
        [clip(every[row], LONGEST_WORDS), *maker.words(row), "" if pictures else maker.text(row, LONGEST_WORDS)]
        for row in found.rows.tolist()
    ]
    data = {"rows": told, "columns": columns, "tile": TILE, "zoom": ZOOM}
    return {
        "points": drawn(found, rows), "of": found.of, "projection": found.projection, "sprite": sheet,
        "colours": [(str(n), clip(rows.classes[c], 40)) for n, c in enumerate(found.coloured)],
        "others": len(rows.classes) > len(found.coloured), "side": columns * TILE * ZOOM, "tile": TILE * ZOOM,
        "data": as_script_data(data),
    }  # fmt: skip


def as_script_data(record: object) -> str:
    """Write JSON that can stand inside a script element."""
    text = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def duplicate_cards(maker: CardMaker, repeated: core.Duplicates, count: int) -> Iterator[Card]:
    """Say on each card which earlier row it repeats, and how that was labelled."""
    for index, origin in zip(repeated.repeats[:count], repeated.origins[:count], strict=True):
        earlier = clip(maker.rows.table["duplicate_of"][int(index)].as_py(), 80)
        label = f", given {maker.name(int(maker.rows.given[origin]))}" if origin >= 0 else ""
        yield maker.card(int(index), f"repeats {earlier}{label}")


@cache
def template() -> Template:
    """Load the template; everything that is set into it is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(percent=percent, number=number)
    return environment.get_template("page.html.j2")
