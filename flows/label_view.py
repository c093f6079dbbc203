"""A label table for a person: what its columns mean, how many rows have which action, and some of its rows."""

from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigError
from pipeline.labels import ACTIONS, SCHEMA

SHOWN = (
    "sample_id", "split", "given_name", "suggested_name", "purified_name", "action", "confidence", "given_confidence",
)  # fmt: skip
MEANINGS = {
    "sample_id": "one row per sample, in dataset order",
    "given_label": "as it came, as a number (null where none)",
    "given_name": "as it came, as a name",
    "suggested_label": "the machine's best answer, before the gate",
    "suggested_name": "the same as a name",
    "purified_label": "the answer puriflow stands for; trusted rows keep their trusted label",
    "purified_name": "the same as a name",
    "action": "keep · relabel · review (trust neither label) · trusted · none (not a train row)",
    "confidence": "calibrated probability that purified_label is right",
    "given_confidence": "calibrated probability that given_label is right",
    "top_labels": "the best classes, at most ten",
    "top_probs": "their calibrated probabilities",
    "neighbour_agreement": "share of the nearest rows that agree",
    "outlier_score": "0 to 1; higher is stranger",
    "duplicate_of": "an earlier row that is a copy, or nearly",
    "split": "train · validation · test",
    "trusted": "whether the true label is known",
    "trusted_origin": "random · selected · unknown",
    "audit": "whether the row was held out as a yardstick",
}


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


def columns() -> list[dict[str, str]]:
    """Describe every column of the label table."""
    return [{"name": f.name, "type": type_name(f.type), "meaning": MEANINGS[f.name]} for f in SCHEMA]


def type_name(kind: pa.DataType) -> str:
    """Name a type in the words of the design."""
    if pa.types.is_dictionary(kind):
        return f"dictionary<{type_name(kind.value_type)}>"
    if pa.types.is_list(kind):
        return f"list<{type_name(kind.value_type)}>"
    return "float32" if kind == pa.float32() else str(kind)
