"""Write the page, its figures as small PNGs, and the same facts as JSON."""

import json
from pathlib import Path
from typing import Any

from stages.report import core
from stages.report.config import ReportConfig
from stages.report.figures import RIGHT, bars, png
from stages.report.findings import gather
from stages.report.page import Page, page
from stages.report.pictures import contact_sheet
from stages.report.sections import Findings, noise_figure
from stages.report.words import one_line
from stages.shell import Context

PAGE_FILE = "report.html"
FACTS_FILE = "report.json"
SCHEMA_VERSION = 1
LISTED_GROUPS = 1000
SHEET_GROUPS, SHEET_PICTURES = 6, 8


def produce(config: ReportConfig, context: Context) -> dict[str, Any]:
    """Read the inputs, choose what to show, write the artifact."""
    inputs = {name: context.input(name) for name in context.request.inputs}
    context.progress.report("read", 0, 3, "steps")
    found = gather(config, context.store, inputs)
    context.stop.check()
    context.progress.report("page", 1, 3, "steps")
    made = page(found, config)
    (context.folder / PAGE_FILE).write_text(made.html, encoding="utf-8")
    context.stop.check()
    context.progress.report("figures", 2, 3, "steps")
    write_figures(found, context.folder)
    facts_ = facts(found, made)
    text = json.dumps(facts_, indent=1, ensure_ascii=False, allow_nan=False)
    (context.folder / FACTS_FILE).write_text(text, encoding="utf-8")
    context.progress.report("figures", 3, 3, "steps")
    return {key: facts_[key] for key in ("sentence", "verdict", "page_bytes", "rows_left_out")}


def facts(found: Findings, made: Page) -> dict[str, Any]:
    """Say what the page says, for programs."""
    names = found.rows.classes
    said = found.verdict()
    groups = core.groups_of_changes(found.rows, 1)
    return {
        "schema_version": SCHEMA_VERSION,
        "title": found.title,
        "sentence": said.sentence,
        "verdict": (found.summary.get("gate") or {}).get("verdict"),
        "applied": found.applied,
        "rows": len(found.rows),
        "classes": len(names),
        "actions": found.rows.action_counts(),
        "summary": dict(found.summary),
        "groups": [
            {"given": names[g.given] if g.given >= 0 else None, "target": names[g.target], "rows": g.count}
            for g in groups[:LISTED_GROUPS]
        ],
        "groups_in_all": len(groups),
        "model": None if found.model is None else found.model.model_dump(mode="json", exclude={"curve"}),
        "broken": len(found.broken),
        "page_bytes": len(made.html.encode()),
        "rows_left_out": made.left_out,
    }


def write_figures(found: Findings, folder: Path) -> None:
    """Write the small PNGs that the Prefect UI shows."""
    audit = found.summary.get("audit") or {}
    if audit.get("rows"):
        shares = [float(audit["given_right"]), float(audit["suggested_right"])]
        names = ["given labels", "suggested labels"]
        (folder / "quality.png").write_bytes(png(lambda: bars(shares, names, "Right on trusted rows", RIGHT)))
    noise = noise_figure(found)
    if noise:
        (folder / "noise.png").write_bytes(png(noise[0]))
    sheet = changes_sheet(found)
    if sheet:
        (folder / "changes.png").write_bytes(sheet)


def changes_sheet(found: Findings) -> bytes | None:
    """Lay out pictures of the largest groups of changes."""
    if found.pictures is None:
        return None
    names, ids = found.rows.classes, found.rows.table["sample_id"]
    lines = []
    for group in core.groups_of_changes(found.rows, SHEET_PICTURES)[:SHEET_GROUPS]:
        given = names[group.given] if group.given >= 0 else "no label"
        pictures = [found.pictures.small(ids[int(i)].as_py()) for i in group.shown]
        title = f"{one_line(given, 20)} → {one_line(names[group.target], 20)}  ({group.count})"
        lines.append((title, [p for p in pictures if p is not None]))
    return contact_sheet(lines) if lines else None
