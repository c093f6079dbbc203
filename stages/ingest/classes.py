"""Classes: names given or found, and every label as the number of its class."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.datasets.annotations import NO_LABEL
from pipeline.datasets.faults import naming, nearest
from pipeline.errors import DataError

NUMBER = re.compile(r"-?(0|[1-9][0-9]*)")


def clean_labels(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Trim labels, and write 3.0 (a whole number that some tool made a float) as 3."""
    trimmed = pc.replace_substring_regex(pc.utf8_trim_whitespace(column), r"^(-?\d+)\.0+$", r"\1")
    return pc.if_else(pc.equal(trimmed, ""), None, trimmed)


def distinct(column: pa.ChunkedArray) -> list[str]:
    """List the different labels of a column."""
    return [v for v in pc.unique(column).to_pylist() if v is not None]


def are_numbers(labels: list[str]) -> bool:
    """Tell labels that are whole numbers."""
    return all(NUMBER.fullmatch(label) for label in labels)


def find_classes(columns: Mapping[str, pa.ChunkedArray], others: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """Derive the class names from all labels, in order; return them and what a user should know."""
    found = {what: distinct(column) for what, column in columns.items()}
    everything = sorted({label for labels in found.values() for label in labels})
    if not everything:
        raise DataError(
            f"no row has a label (looked at: {', '.join(columns)}).",
            "Name the column of given labels: dataset.columns.given_label. "
            + (nearest("label", others) if others else ""),
        )
    numeric = {what: are_numbers(labels) for what, labels in found.items() if labels}
    if len(set(numeric.values())) > 1:
        numbers, names = ([w for w, n in numeric.items() if n is wanted] for wanted in (True, False))
        raise DataError(
            f"{', '.join(numbers)} hold numbers but {', '.join(names)} hold names.",
            "List dataset.class_names in the order of the numbers.",
        )
    if not are_numbers(everything):
        return everything, [f"class_names were derived from the labels and sorted: {naming(everything)}"]
    everything.sort(key=int)
    if int(everything[0]) < 0:
        raise DataError(
            f"label {everything[0]} is negative; labels are 0 or more.",
            "Leave the field empty where there is no label.",
        )
    if everything == [str(i) for i in range(len(everything))]:
        return everything, []
    return everything, [
        f"labels are numbers with gaps: class 0 is '{everything[0]}', the last of {len(everything)} classes is "
        f"'{everything[-1]}'; list class_names to say otherwise"
    ]


def encode(column: pa.ChunkedArray, names: list[str], what: str, ids: pa.ChunkedArray) -> NDArray[np.int32]:
    """Turn labels into numbers: by name where all are class names, else whole numbers count the classes from 0."""
    labels = distinct(column)
    known = set(names)
    unknown = [label for label in labels if label not in known]
    if unknown and are_numbers(labels):
        return by_number(column, len(names), what, ids)
    if unknown:
        rows = ids.filter(pc.is_in(column, value_set=pa.array(unknown, pa.string())))
        raise DataError(
            f"{what} {naming(unknown)} of {len(rows)} rows are not among the {len(names)} class names "
            f"(first rows: {naming(rows)}).",
            nearest(unknown[0], names) + " Mend the labels or dataset.class_names.",
        )
    codes = pc.index_in(column, value_set=pa.array(names, pa.string()), skip_nulls=True)
    return np.asarray(pc.fill_null(codes, NO_LABEL).to_numpy(), dtype=np.int32)


def by_number(column: pa.ChunkedArray, classes: int, what: str, ids: pa.ChunkedArray) -> NDArray[np.int32]:
    """Read labels as numbers of classes."""
    numbers = np.asarray(pc.fill_null(column.cast(pa.int64()), NO_LABEL).to_numpy())
    present = np.asarray(pc.is_valid(column).to_numpy())
    wrong = np.flatnonzero(present & ((numbers < 0) | (numbers >= classes)))
    if len(wrong):
        shown = [f"{ids[int(i)]}: {numbers[i]}" for i in wrong[:5]]
        raise DataError(
            f"{what} of {len(wrong)} rows are out of range 0..{classes - 1} ({classes} class names): "
            f"{naming(shown, len(wrong))}.",
            "Mend the labels or dataset.class_names; leave the field empty where there is no label.",
        )
    return numbers.astype(np.int32)


def plurality(votes: NDArray[np.int32]) -> NDArray[np.int32]:
    """Choose each row's most frequent label among its annotators [N, A]; of equals, the one voted for first."""
    support = np.stack([((votes == votes[:, [a]]) & (votes >= 0)).sum(axis=1) for a in range(votes.shape[1])], axis=1)
    return np.asarray(votes[np.arange(len(votes)), support.argmax(axis=1)])
