"""The label table as the report looks at it: plain arrays, and which rows were changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LabelRows:
    """The label table in dataset order; `applied` tells whether the gate let the changes through."""

    table: pa.Table
    classes: Sequence[str]
    applied: bool

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def given(self) -> Ints:
        """Return the given labels, -1 where there is none."""
        return self._labels("given_label")

    @cached_property
    def target(self) -> Ints:
        """Return what the labels became, or would have become behind a closed gate."""
        return self._labels("purified_label" if self.applied else "suggested_label")

    @cached_property
    def train(self) -> Mask:
        """Tell which rows are train rows."""
        return self._is("split", "train")

    @cached_property
    def trusted(self) -> Mask:
        """Tell which rows have a trusted label."""
        return np.asarray(self.table["trusted"].to_numpy(zero_copy_only=False), dtype=bool)

    @cached_property
    def changed(self) -> Mask:
        """Tell which labels the machine changed, or would have changed behind a closed gate."""
        if self.applied:
            return self._is("action", "relabel")
        differs = (self.given >= 0) & (self.given != self.target)
        return np.asarray(self.train & ~self._is("action", "trusted") & differs, dtype=bool)

    @cached_property
    def differs(self) -> Mask:
        """Tell which given labels of train rows the machine would answer otherwise, whatever came of it."""
        return np.asarray(self.train & (self.given >= 0) & (self.given != self._labels("suggested_label")), dtype=bool)

    @cached_property
    def review(self) -> Mask:
        """Tell which rows wait for a review."""
        return self._is("action", "review")

    @cached_property
    def confidence(self) -> Floats:
        """Return the probability of the best answer: of the purified label, or of the suggested one."""
        if self.applied:
            return self._floats("confidence")
        return self._top(0)

    @cached_property
    def outlier_score(self) -> Floats:
        """Return how strange a row is, -1 where unknown."""
        return np.nan_to_num(self._floats("outlier_score"), nan=-1.0)

    @cached_property
    def margin(self) -> Floats:
        """Return by how much the best answer leads; small is uncertain."""
        return self._top(0) - self._top(1)

    def action_counts(self) -> dict[str, int]:
        """Count the rows of each action."""
        counts = self.table["action"].combine_chunks().value_counts().to_pylist()
        return {str(item["values"]): int(item["counts"]) for item in counts}

    def _labels(self, name: str) -> Ints:
        return np.asarray(self.table[name].fill_null(-1).to_numpy(), dtype=np.int32)

    def _floats(self, name: str) -> Floats:
        return np.asarray(self.table[name].to_numpy(zero_copy_only=False), dtype=np.float32)

    def _is(self, name: str, value: str) -> Mask:
        column = self.table[name].combine_chunks()
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        codes = [code for code, text in enumerate(column.dictionary.to_pylist()) if text == value]
        return np.asarray(np.isin(column.indices.fill_null(-1).to_numpy(zero_copy_only=False), codes), dtype=bool)

    def _top(self, rank: int) -> Floats:
        lists = self.table["top_probs"].combine_chunks()
        offsets = lists.offsets.to_numpy()
        values = np.append(lists.values.to_numpy(zero_copy_only=False), 0.0).astype(np.float32)
        there = np.diff(offsets) > rank
        return np.where(there, values[np.where(there, offsets[:-1] + rank, -1)], np.float32(0.0))


def row_of(table: pa.Table, index: int) -> dict[str, Any]:
    """Read one row as plain values."""
    return dict(table.slice(index, 1).to_pylist()[0])
