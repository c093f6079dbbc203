"""What a reader should know before believing the page: weak features, leaks, yardsticks that are missing."""

from collections.abc import Mapping
from typing import Any

from stages.report.words import number

LEAKS = {
    "trusted_in_rest": "Copies across trusted and other rows: {}. The audit may flatter.",
    "test_in_train": "Copies across test and other rows: {}. Test scores may flatter.",
    "contradictory_trusted": "Trusted rows that contradict a copy of themselves: {}. Check them again.",
}


def cautions(summary: Mapping[str, Any]) -> list[str]:
    """List what weakens the figures, as whole sentences."""
    features = summary.get("features") or {}
    found = [str(warning) for warning in summary.get("warnings") or []]
    if features.get("verdict") in ("weak", "useless"):
        found.append(f"The features are {features['verdict']}. {features.get('remedy', '')}".strip())
    leaks = summary.get("leaks") or {}
    return found + [words.format(number(leaks[name])) for name, words in LEAKS.items() if leaks.get(name)]
