"""What a reader should know before believing the page: weak features, leaks, yardsticks that are missing."""

from collections.abc import Mapping
from typing import Any

from stages.report.words import number

LEAKS = {
    "trusted_in_rest": "trusted rows and other rows are copies of each other, so the audit may flatter",
    "test_in_train": "test rows and train rows are copies of each other, so test scores may flatter",
    "contradictory_trusted": "trusted rows contradict a copy of themselves: check them again",
}


def cautions(summary: Mapping[str, Any]) -> list[str]:
    """List what weakens the figures, as whole sentences."""
    features = summary.get("features") or {}
    found = [str(warning) for warning in summary.get("warnings") or []]
    if features.get("verdict") in ("weak", "useless"):
        found.append(f"The features are {features['verdict']}. {features.get('remedy', '')}".strip())
    leaks = summary.get("leaks") or {}
    return found + [f"{number(leaks[name])} {words}." for name, words in LEAKS.items() if leaks.get(name)]
