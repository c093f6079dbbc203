"""A label table for a person: how many rows have which action, and some of its rows."""

from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigError
from pipeline.labels import ACTIONS

SHOWN = (
    "sample_id", "split", "given_name", "suggested_name", "purified_name", "action", "confidence", "given_confidence",
)  # fmt: skip


def counts_of(table: pa.Table) -> dict[str, int]:
    """Count the rows of each action."""
    found = Counter(table["action"].to_pylist())
    return {action: found[action] for action in ACTIONS if found[action]}


def rows_of(table: pa.Table, action: str, number: int) -> list[dict[str, Any]]:
    """Take the first rows, of one action or of all."""
    if action:
        if action not in ACTIONS:
            raise ConfigError(f"there is no action '{action}'.", f"Choose one of: {', '.join(ACTIONS)}.")
        table = table.filter(pc.equal(table["action"].cast(pa.string()), action))
    return list(table.select(SHOWN).slice(0, number).to_pylist())
