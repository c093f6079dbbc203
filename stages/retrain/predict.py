"""Predict rows with a trained network, and lay the predictions out over a whole dataset."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pipeline.models import MAX_CLASSES_WITH_PROBS, FloatArray, Predictions
from stages.networks.classifiers import Ensemble
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


def embed(network: nn.Module, batches: Batches, rows: Tensor) -> FloatArray:
    """Return what the last layer sees of some rows, [n, d]; of several networks, the mean."""
    members = list(network.members) if isinstance(network, Ensemble) else [network]
    last = [[part for part in member.modules() if isinstance(part, nn.Linear)][-1] for member in members]
    seen: list[Tensor] = []
    hooks = [layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])) for layer in last]
    found = []
    network.eval()
    with torch.inference_mode():
        for part in torch.split(rows, CHUNK):
            seen.clear()
            network(batches.plain(part))
            found.append(torch.stack(seen).float().mean(dim=0).cpu().numpy())
    for hook in hooks:
        hook.remove()
    return np.concatenate(found)


def spread_out(said: Predictions, usable: npt.NDArray[np.int64], count: int, prior: Tensor) -> Predictions:
    """Lay the predictions of usable rows out over all rows; for the others only the class shares speak."""
    shares = prior.numpy().astype(np.float32)
    label = np.full(count, shares.argmax(), np.int32)
    confidence = np.full(count, shares.max(initial=0), np.float32)
    label[usable], confidence[usable] = said.label, said.confidence
    probs = embedding = None
    if said.probs is not None:
        probs = np.tile(shares, (count, 1))
        probs[usable] = said.probs
    if said.embedding is not None:
        embedding = np.full((count, said.embedding.shape[1]), np.nan, np.float32)
        embedding[usable] = said.embedding
    return Predictions(label, confidence, probs, embedding)
