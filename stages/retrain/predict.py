"""Predict rows with a trained network, and lay the predictions out over a whole dataset."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pipeline.models import MAX_CLASSES_WITH_PROBS, Predictions
from stages.retrain.material import Batches

CHUNK = 1024


def predict(
    network: nn.Module,
    batches: Batches,
    rows: Tensor,
    classes: int,
    after_chunk: Callable[[int], None] = lambda _: None,
) -> Predictions:
    """Predict some rows in full precision; all probabilities are kept where there are few classes."""
    label = np.zeros(len(rows), np.int32)
    confidence = np.zeros(len(rows), np.float32)
    probs = np.zeros((len(rows), classes), np.float32) if classes <= MAX_CLASSES_WITH_PROBS else None
    network.eval()
    with torch.inference_mode():
        for start in range(0, len(rows), CHUNK):
            part = slice(start, start + CHUNK)
            said = torch.softmax(network(batches.plain(rows[part])).float(), dim=1).cpu()
            best = said.max(dim=1)
            label[part], confidence[part] = best.indices.numpy(), best.values.numpy()
            if probs is not None:
                probs[part] = said.numpy()
            after_chunk(min(start + CHUNK, len(rows)))
    return Predictions(label, confidence, probs)


def spread_out(said: Predictions, usable: npt.NDArray[np.int64], count: int, prior: Tensor) -> Predictions:
    """Lay the predictions of usable rows out over all rows; for the others only the class shares speak."""
    shares = prior.numpy().astype(np.float32)
    label = np.full(count, shares.argmax(), np.int32)
    confidence = np.full(count, shares.max(initial=0), np.float32)
    label[usable], confidence[usable] = said.label, said.confidence
    if said.probs is None:
        return Predictions(label, confidence, None)
    probs = np.tile(shares, (count, 1))
    probs[usable] = said.probs
    return Predictions(label, confidence, probs)
