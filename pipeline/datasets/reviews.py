"""What reviewers bring back: the reviewer page's file, Label Studio's export, or a table of ids and labels."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.datasets.decisions import SKIP
from pipeline.datasets.faults import missing_column
from pipeline.datasets.tables import read_table
from pipeline.errors import DataError

FORMAT, VERSION = "puriflow-review", 1
LABEL_COLUMNS = ("label", "trusted_label", "trusted_name")
DRAWN = ("random", "selected")
REMEDY = "Expected: the reviewer page's JSON or CSV, Label Studio's JSON export, or a table with sample_id and label."


@dataclass(frozen=True)
class Answer:
    """What somebody said about one row; no label: left open."""

    sample_id: str
    label: str | None
    choice: str = ""
    drawn: str = "selected"
    who: str = ""
    when: str = ""
    review: str = ""


@dataclass(frozen=True)
class Answers:
    """A reviewer's file."""

    answers: list[Answer]
    dataset: str = ""  # '' where the file does not say


def read_answers(path: Path) -> Answers:
    """Read a reviewer's file of any known form."""
    if path.suffix.lower() != ".json":
        return Answers(list(_from_table(read_table(path), path)))
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}.", REMEDY) from error
    if isinstance(content, dict) and content.get("format") == FORMAT:
        return _from_page(content, path)
    if isinstance(content, list):
        return Answers([answer for task in content for answer in _from_label_studio(task, path)])
    raise DataError(f"{path} is no file of a review.", REMEDY)


def _from_page(content: Mapping[str, Any], path: Path) -> Answers:
    if content.get("version") != VERSION:
        raise DataError(
            f"{path} is of version {content.get('version')} of its form; this puriflow reads version {VERSION}.",
            "Import it with the puriflow that made the page.",
        )
    base = {"who": content.get("who"), "review": content.get("review")}
    found = [_answer({**base, **row}, path) for row in content.get("decisions") or []]
    return Answers(found, str(content.get("dataset") or ""))


def _from_table(table: pa.Table, path: Path) -> Iterator[Answer]:
    label = next((name for name in LABEL_COLUMNS if name in table.column_names), None)
    if label is None or "sample_id" not in table.column_names:
        lacking = "sample_id" if label else "label"
        raise missing_column(lacking, table.column_names, str(path), lacking)
    for row in table.to_pylist():
        yield _answer({**row, "label": row[label]}, path)


def _from_label_studio(task: Any, path: Path) -> Iterator[Answer]:
    """Read a task with annotations (JSON), or one with its choice beside the data (JSON_MIN)."""
    if not isinstance(task, dict):
        raise DataError(f"{path} is a list, but not of tasks.", REMEDY)
    data = task.get("data", task)
    base = {name: data.get(name) for name in ("sample_id", "drawn", "review")}
    if "annotations" not in task and "data" not in task:
        yield _answer({**base, "label": task.get("label"), "who": task.get("annotator"),
                       "when": task.get("updated_at")}, path)  # fmt: skip
    for annotation in task.get("annotations") or ():
        said = {"who": annotation.get("completed_by"), "when": annotation.get("updated_at")}
        choices = [c for r in annotation.get("result") or () for c in (r.get("value") or {}).get("choices") or ()]
        if len(choices) > 1:
            raise DataError(f"{path} gives '{base['sample_id']}' {len(choices)} labels at once.", "Choose one a row.")
        skipped = annotation.get("was_cancelled") or not choices
        yield _answer({**base, **said, "label": None if skipped else choices[0]}, path)


def _answer(row: Mapping[str, Any], path: Path) -> Answer:
    sample = row.get("sample_id")
    if sample in (None, ""):
        raise DataError(f"{path} has an answer without a sample id.", REMEDY)
    drawn = str(row.get("drawn") or "selected")
    if drawn not in DRAWN:
        raise DataError(f"{path} says that '{sample}' was {drawn!r}.", f"Allowed: {', '.join(DRAWN)}.")
    label = row.get("label")
    words = {name: str(row.get(name) or "") for name in ("choice", "who", "when", "review")}
    text = None if label is None or str(label) == "" or words["choice"] == SKIP else str(label)
    return Answer(str(sample), text, drawn=drawn, **words)
