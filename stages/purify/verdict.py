"""Judge whether features are good enough to purify by, and find rows that repeat where that makes figures lie."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.purify.audit import share_interval

CERTAIN = 2.33  # four probes are looked at, so each must stand out by more
GOOD = 0.5
REMEDY = (
    "Train an encoder on these images (represent), or bring features of another model: these do not tell the "
    "classes apart, so labels should stay as given."
)
WEAK_REMEDY = "Better features beat a better purifier: try another encoder, or train this one for longer."
EXAMPLES = 5

Ids = npt.NDArray[np.object_]


def features_verdict(knn: float, linear: float, labels: npt.NDArray[np.integer]) -> dict[str, Any]:
    """Judge features by the better of two probes on trusted rows [v] against always naming the largest class."""
    if len(labels) == 0:
        return {"verdict": "weak", "knn": None, "linear": None, "chance": None, "remedy": "Mark some rows as trusted."}
    chance = float(np.bincount(labels).max() / len(labels))
    best = max(knn, linear)
    if share_interval(best, len(labels), CERTAIN)[0] <= chance:
        verdict, remedy = "useless", REMEDY
    elif best < chance + GOOD * (1 - chance):
        verdict, remedy = "weak", WEAK_REMEDY
    else:
        verdict, remedy = "good", ""
    return {"verdict": verdict, "knn": knn, "linear": linear, "chance": chance, "remedy": remedy}


def find_leaks(
    sample_ids: Sequence[str], duplicate_of: Ids, split: npt.NDArray[np.str_], trusted: npt.NDArray[np.integer]
) -> dict[str, Any]:
    """Count rows that repeat across train and test, across trusted and other rows, or against each other."""
    later = np.flatnonzero(duplicate_of != None)  # noqa: E711 (elementwise)
    place = dict(zip(sample_ids, range(len(sample_ids)), strict=True)) if len(later) else {}
    first = np.array([place[i] for i in duplicate_of[later]], dtype=np.int64)
    knows, knew = trusted[later] >= 0, trusted[first] >= 0
    kinds = {
        "trusted_in_rest": knows != knew,
        "test_in_train": (split[later] == "test") != (split[first] == "test"),
        "contradictory_trusted": knows & knew & (trusted[later] != trusted[first]),
    }
    examples = {n: _pairs(sample_ids, later[m], first[m]) for n, m in kinds.items() if m.any()}
    return {"duplicates": len(later), **{n: int(m.sum()) for n, m in kinds.items()}, "examples": examples}


def groups_of(sample_ids: Sequence[str], duplicate_of: Ids) -> list[str]:
    """Name the group of near duplicates that each row belongs to, so that no fold judges a copy of its teacher."""
    return [str(i if d is None else d) for i, d in zip(sample_ids, duplicate_of, strict=True)]


def _pairs(ids: Sequence[str], later: npt.NDArray[np.int64], first: npt.NDArray[np.int64]) -> list[list[str]]:
    return [[ids[a], ids[b]] for a, b in zip(later[:EXAMPLES], first[:EXAMPLES], strict=True)]
