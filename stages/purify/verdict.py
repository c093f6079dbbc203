"""Judge whether features are good enough to purify by, and find rows that repeat where that makes figures lie."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stages.purify.audit import share_interval

CERTAIN = 2.33  # four probes are looked at, so each must stand out by more
GOOD = 0.5
REMEDY = (
    "Train an encoder on these images (represent), or bring features of another model: these do not tell the "
    "classes apart, so labels should stay as given."
)
WEAK_REMEDY = "Better features beat a better purifier: try another encoder, or train this one for longer."
FEW = 30  # trusted rows below which a comparison with pixels is chance
EXAMPLES = 5
LEAK_COLUMNS = ["kind", "sample_id", "repeats"]
LEAKS = {
    "trusted_in_rest": "Copies across trusted and other rows: {}. The audit may flatter.",
    "test_in_train": "Copies across test and other rows: {}. Test scores may flatter.",
    "validation_in_train": "Copies across validation and other rows: {}. The choice of the model may flatter.",
    "contradictory_trusted": "Trusted rows that contradict a copy of themselves: {}. Check them again.",
}

Ids = npt.NDArray[np.object_]


def features_verdict(
    knn: float, linear: float, labels: npt.NDArray[np.integer], pixels: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """Judge features by the better of two probes on trusted rows [v] against the largest class and raw pixels.

    pixels: the better probe of `features` and of `pixels`, both on the same few `rows`.
    """
    if len(labels) == 0:
        nothing = dict.fromkeys(("knn", "linear", "chance", "pixels"))
        return {"verdict": "weak", **nothing, "remedy": "Mark some rows as trusted."}
    chance = float(np.bincount(labels).max() / len(labels))
    best = max(knn, linear)
    poor = pixels is not None and pixels["rows"] >= FEW and pixels["features"] <= pixels["pixels"]
    than_pixels = "" if pixels is None else (
        f"They are no better than raw pixels ({pixels['features']:.0%} right against {pixels['pixels']:.0%} on "
        f"{pixels['rows']} trusted rows). "
    )  # fmt: skip
    if share_interval(best, len(labels), CERTAIN)[0] <= chance:
        verdict, remedy = "useless", REMEDY
    elif best < chance + GOOD * (1 - chance):
        verdict, remedy = ("useless", than_pixels + REMEDY) if poor else ("weak", WEAK_REMEDY)
    else:
        verdict, remedy = ("weak", than_pixels + WEAK_REMEDY) if poor else ("good", "")
    return {"verdict": verdict, "knn": knn, "linear": linear, "chance": chance, "pixels": pixels, "remedy": remedy}


def find_leaks(
    sample_ids: Sequence[str], duplicate_of: Ids, split: npt.NDArray[np.str_], trusted: npt.NDArray[np.integer]
) -> pa.Table:
    """List rows that repeat an earlier one across splits, across trusted and other rows, or against its label."""
    later = np.flatnonzero(duplicate_of != None)  # noqa: E711 (elementwise)
    place = dict(zip(sample_ids, range(len(sample_ids)), strict=True)) if len(later) else {}
    first = np.array([place[i] for i in duplicate_of[later]], dtype=np.int64)
    knows, knew = trusted[later] >= 0, trusted[first] >= 0
    kinds = {
        "trusted_in_rest": knows != knew,
        "test_in_train": (split[later] == "test") != (split[first] == "test"),
        "validation_in_train": (split[later] == "validation") != (split[first] == "validation"),
        "contradictory_trusted": knows & knew & (trusted[later] != trusted[first]),
    }
    ids = np.asarray(sample_ids, dtype=object)
    found = [(name, ids[later[mask]], ids[first[mask]]) for name, mask in kinds.items()]
    columns = (np.repeat([n for n, _, _ in found], [len(a) for _, a, _ in found]), *(
        np.concatenate([pairs[i] for pairs in found]) for i in (1, 2)
    ))  # fmt: skip
    return pa.table([pa.array(column, pa.string()) for column in columns], LEAK_COLUMNS)


def leaks_record(leaks: pa.Table, duplicates: int) -> dict[str, Any]:
    """Count leaks by kind, with a few examples; the table holds all."""
    rows = {kind: leaks.filter(pc.equal(leaks["kind"], kind)) for kind in LEAKS}
    examples = {
        kind: [list(pair) for pair in zip(*(found[c].to_pylist()[:EXAMPLES] for c in LEAK_COLUMNS[1:]), strict=True)]
        for kind, found in rows.items()
        if found.num_rows
    }
    return {"duplicates": duplicates, **{kind: found.num_rows for kind, found in rows.items()}, "examples": examples}


def cautions(features: Mapping[str, Any], leaks: Mapping[str, Any]) -> list[str]:
    """Say what weakens the figures: features that tell little, rows that repeat where that flatters."""
    found = []
    if features["verdict"] != "good":
        found.append(f"The features are {features['verdict']}. {features['remedy']}")
    for kind, words in LEAKS.items():
        pairs = [f"{a} = {b}" for a, b in leaks["examples"].get(kind, [])]
        if pairs:
            more = ", …" if leaks[kind] > len(pairs) else ""
            found.append(f"{words.format(f'{leaks[kind]:,}')} ({', '.join(pairs)}{more}; all in leaks.parquet)")
    return found


def groups_of(sample_ids: Sequence[str], duplicate_of: Ids) -> list[str]:
    """Name the group of near duplicates that each row belongs to, so that no fold judges a copy of its teacher."""
    return [str(i if d is None else d) for i, d in zip(sample_ids, duplicate_of, strict=True)]
