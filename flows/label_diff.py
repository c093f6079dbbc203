"""What became of labels between two label tables: counts by given → old → new, and who moved most."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flows.quantities import count, counted, percent
from pipeline.errors import ConfigError
from pipeline.exports.export import appearing

FORMS = ("markdown", "json", "parquet")
NAMES = ("given_name", "purified_name", "action")
MOST_ROWS = 20
GROUPS_SCHEMA = pa.schema(
    [("given", pa.string()), ("old", pa.string()), ("new", pa.string()), ("rows", pa.int64())]
)  # fmt: skip


@dataclass(frozen=True)
class LabelDiff:
    """Two tables joined by sample id."""

    changed: pa.Table  # one row per sample whose purified label is another one
    shared: int
    only_old: int
    only_new: int
    actions: list[dict[str, Any]]
    before: dict[str, Any]  # metadata
    after: dict[str, Any]

    def groups(self) -> list[dict[str, Any]]:
        """Count the changed rows by given → old → new, the largest first."""
        names = ("given_name", "old_name", "new_name")
        found = Counter(zip(*(self.changed[name].to_pylist() for name in names), strict=True))
        keys = sorted(found, key=lambda key: (-found[key], [str(part) for part in key]))
        return [{"given": g, "old": o, "new": n, "rows": found[g, o, n]} for g, o, n in keys]

    def movers(self) -> list[dict[str, Any]]:
        """Say of each class how many rows left it and came to it, the most moved first."""
        left = Counter(self.changed["old_name"].to_pylist())
        came = Counter(self.changed["new_name"].to_pylist())
        names = sorted({*left, *came}, key=lambda name: (-left[name] - came[name], name))
        return [{"class": n, "left": left[n], "came": came[n], "net": came[n] - left[n]} for n in names]

    def sentence(self) -> str:
        """Say it in a sentence."""
        groups = self.groups()
        if not groups:
            return f"No purified label of {counted(self.shared, 'row')} changed."
        pairs = Counter[tuple[str, str]]()
        for group in groups:
            pairs[group["old"], group["new"]] += group["rows"]
        (old, new), most = pairs.most_common(1)[0]
        share = percent(self.changed.num_rows / self.shared)
        said = f"{count(self.changed.num_rows)} of {count(self.shared)} purified labels changed ({share})"
        return f"{said}, {count(most)} of them {old} → {new}."

    def to_dict(self) -> dict[str, Any]:
        """Return all of it but the rows."""
        return {
            "sentence": self.sentence(), "rows": self.shared, "changed": self.changed.num_rows,
            "only_old": self.only_old, "only_new": self.only_new, "groups": self.groups(), "movers": self.movers(),
            "actions": self.actions, "before": about(self.before), "after": about(self.after),
        }  # fmt: skip


def diff_labels(old: tuple[pa.Table, dict[str, Any]], new: tuple[pa.Table, dict[str, Any]]) -> LabelDiff:
    """Join two label tables, each with its metadata, and keep what differs; classes are compared by name."""
    places = pc.index_in(new[0]["sample_id"], value_set=old[0]["sample_id"].combine_chunks())
    there = np.asarray(pc.is_valid(places).to_numpy(zero_copy_only=False), dtype=bool)
    after = new[0].filter(pa.array(there))
    before = old[0].take(places.drop_null())
    was, now = words(before), words(after)
    differs = was["purified_name"] != now["purified_name"]
    columns = {
        "sample_id": after["sample_id"], "given_name": now["given_name"], "old_name": was["purified_name"],
        "new_name": now["purified_name"], "old_action": was["action"], "new_action": now["action"],
        "old_confidence": before["confidence"], "new_confidence": after["confidence"],
    }  # fmt: skip
    shared = int(there.sum())
    return LabelDiff(
        pa.table(columns).filter(pa.array(differs)), shared, old[0].num_rows - shared, new[0].num_rows - shared,
        transitions(was["action"], now["action"]), old[1], new[1],
    )  # fmt: skip


def words(table: pa.Table) -> dict[str, Any]:
    """Read the columns of words, None where there is nothing."""
    return {name: np.asarray(table[name].cast(pa.string()).to_pylist(), dtype=object) for name in NAMES}


def transitions(before: Any, after: Any) -> list[dict[str, Any]]:
    """Count the rows whose action is another one, the most frequent first."""
    found = Counter((b, a) for b, a in zip(before, after, strict=True) if a != b)
    return [{"old": o, "new": n, "rows": found[o, n]} for o, n in sorted(found, key=lambda k: (-found[k], k))]


def about(metadata: dict[str, Any]) -> dict[str, Any]:
    """Say which table it is."""
    gate, noise = metadata["gate"], metadata["noise"]
    return {"labels": metadata["keys"].get("labels"), "gate": gate.get("verdict"), "noise": noise.get("rate")}


def markdown(diff: LabelDiff) -> str:
    """Write the diff as a page for a pull request or a chat."""
    record = diff.to_dict()
    parts = [f"**{record['sentence']}**"]
    if record["only_old"] or record["only_new"]:
        parts.append(
            f"Only in the old table: {count(diff.only_old)} rows; only in the new one: {count(diff.only_new)}."
        )
    parts += [
        grid(("given", "old", "new", "rows"), record["groups"], "groups"),
        grid(("class", "left", "came", "net"), record["movers"], "classes"),
        grid(("old", "new", "rows"), [{**a, "old": f"`{a['old']}`", "new": f"`{a['new']}`"} for a in diff.actions], ""),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def grid(headings: tuple[str, ...], rows: list[dict[str, Any]], what: str) -> str:
    """Write a table, saying how many rows it leaves out."""
    if not rows:
        return ""
    lines = ["| " + " | ".join(headings) + " |", "|---" * len(headings) + "|"]
    lines += ["| " + " | ".join(cell(row[h]) for h in headings) + " |" for row in rows[:MOST_ROWS]]
    more = len(rows) - MOST_ROWS
    return "\n".join(lines) + (f"\n\nand {more} {what} more." if more > 0 else "")


def cell(value: object) -> str:
    """Write one cell; no name can end it."""
    text = "–" if value is None else str(value)
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def write_diff(diff: LabelDiff, form: str, path: Path | None, *, rows: bool = False) -> None:
    """Write the diff into a new file."""
    if form not in FORMS:
        raise ConfigError(f"there is no form '{form}'.", f"Choose one of: {', '.join(FORMS)}.")
    if path is None:
        raise ConfigError(f"{form} goes into a file.", "Name it with --out.")
    with appearing(path) as target:
        if form == "parquet":
            table = diff.changed if rows else pa.Table.from_pylist(diff.groups(), schema=GROUPS_SCHEMA)
            pq.write_table(table, target)
        else:
            text = markdown(diff) if form == "markdown" else json.dumps(diff.to_dict(), ensure_ascii=False, indent=1)
            target.write_text(text, encoding="utf-8")
