"""Lay what was decided out as tables."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.datasets.annotations import Annotations
from pipeline.labels import ACTIONS, label_table
from pipeline.neighbours import Neighbours
from stages.purify.core import Purified
from stages.purify.sample import Sample

CHUNK = 65_536


@dataclass(frozen=True)
class Inputs:
    """The three inputs, checked to be of the same rows."""

    annotations: Annotations
    neighbours: Neighbours
    sample: Sample


def labels_table(inputs: Inputs, result: Purified) -> pa.Table:
    """Build the label table."""
    annotations, rows = inputs.annotations, result.rows
    held = np.zeros(len(annotations), dtype=bool)
    held[result.plan.held.cpu().numpy()] = True
    agreement, score = neighbour_agreement(annotations.given, inputs.neighbours), inputs.neighbours.outlier_score
    doubt = rows.given_confidence.float().cpu().numpy()
    names = pa.array(list(ACTIONS), pa.string())
    columns = {
        "sample_id": annotations.sample_ids,
        "given_label": annotations.given,
        "suggested_label": rows.suggested.cpu().numpy(),
        "purified_label": rows.purified.cpu().numpy(),
        "action": pa.DictionaryArray.from_arrays(pa.array(rows.action.cpu().numpy(), pa.int32()), names),
        "confidence": rows.confidence.float().clamp(0, 1).cpu().numpy(),
        "given_confidence": pa.array(np.clip(doubt, 0, 1), mask=np.isnan(doubt)),
        "top_labels": list_column(rows.top_labels.int().cpu().numpy()),
        "top_probs": list_column(rows.top_probs.float().clamp(0, 1).cpu().numpy()),
        "neighbour_agreement": pa.array(agreement, mask=np.isnan(agreement)),
        "outlier_score": pa.array(score, pa.float32(), mask=np.isnan(score)),
        "duplicate_of": pa.array(inputs.neighbours.duplicate_of, pa.string()),
        "split": annotations.split,
        "trusted": annotations.trusted >= 0,
        "trusted_origin": pa.array(annotations.origin, pa.string(), mask=annotations.origin == ""),
        "audit": held,
    }
    return label_table(columns, annotations.class_names)


def neighbour_agreement(given: npt.NDArray[np.int32], neighbours: Neighbours) -> npt.NDArray[np.float32]:
    """Return the share of neighbours whose given label is the row's own; NaN where there is nothing to compare."""
    result = np.full(len(given), np.nan, np.float32)
    for start in range(0, len(given), CHUNK):
        index = np.asarray(neighbours.indices[start : start + CHUNK])
        own = given[start : start + CHUNK, None]
        near = np.where(index >= 0, given[np.maximum(index, 0)], -1)
        counted = ((near >= 0) & (own >= 0)).sum(1)
        same = ((near == own) & (own >= 0)).sum(1)
        result[start : start + CHUNK] = np.where(counted > 0, same / np.maximum(counted, 1), np.nan)
    return result


def candidates_table(inputs: Inputs, result: Purified) -> pa.Table:
    """Build the table of what each baseline says."""
    said = result.rows.candidates.int().cpu().numpy()
    columns = [pa.array(inputs.annotations.sample_ids, pa.string()), *(pa.array(c, pa.int32()) for c in said.T)]
    return pa.table(columns, names=["sample_id", *result.baselines])


def audit_table(inputs: Inputs, result: Purified) -> pa.Table:
    """Build the table of judged trusted rows: what was said about each by the fold that did not know it."""
    judged = result.judged
    ids = np.asarray(inputs.annotations.sample_ids, dtype=object)[judged.rows.cpu().numpy()]
    given = judged.pairs.given.cpu().numpy()
    return pa.table(
        {
            "sample_id": pa.array(ids, pa.string()),
            "fold": pa.array(judged.folds.cpu().numpy(), pa.int32()),
            "trusted_label": pa.array(judged.pairs.labels.cpu().numpy(), pa.int32()),
            "given_label": pa.array(given, pa.int32(), mask=given < 0),
            "label": pa.array(judged.suggested.cpu().numpy(), pa.int32()),
            "belief": list_column(judged.beliefs.float().cpu().numpy()),
        }
    )


def list_column(values: npt.NDArray[Any]) -> pa.ListArray:
    """Turn an array [n, k] into a column of lists."""
    offsets = np.arange(0, values.size + 1, values.shape[1]) if values.shape[1] else np.zeros(len(values) + 1)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values.ravel()))
