"""A glance with labels while an encoder learns: shown, and never part of what it learns or of its artifact."""

from collections.abc import Callable

import numpy as np
import torch

from pipeline.datasets.annotations import open_annotations
from pipeline.datasets.images import open_images
from stages.images.cache import ImageCache
from stages.linear.design import unit_rows
from stages.linear.probes import knn_accuracy, linear_accuracy
from stages.networks.encoder import Encoder
from stages.represent.config import RepresentConfig
from stages.shell import Context

MOST_ROWS = 500

Probe = Callable[[Encoder], dict[str, float | str]]


def show_nothing(_encoder: Encoder) -> dict[str, float | str]:
    """Stand for a probe where none is wanted, or no labels are at hand."""
    return {}


def load_probe(config: RepresentConfig, context: Context, cache: ImageCache) -> Probe:
    """Take the trusted rows of the hint `annotations`, at most 500, spread over the dataset."""
    hint = context.hint("annotations") if config.probe else None
    if hint is None:
        return show_nothing
    images, annotations = open_images(context.input("images")), open_annotations(hint)
    if annotations.sample_ids != images.sample_ids:  # labels of other images
        return show_nothing
    trusted = annotations.trusted[images.ok]  # in the order of the cache
    known = np.flatnonzero(trusted >= 0)
    known = known[np.arange(min(len(known), MOST_ROWS)) * len(known) // max(min(len(known), MOST_ROWS), 1)]
    if len(known) < 2:
        return show_nothing
    rows, labels = torch.from_numpy(known), torch.from_numpy(trusted[known].astype(np.int64))

    def probe(encoder: Encoder) -> dict[str, float | str]:
        encoder.eval()
        with torch.inference_mode():
            found = torch.cat([encoder(cache.batch(some)) for some in torch.split(rows, config.batch_size)])
        unit = unit_rows(found, torch.ones(len(found), dtype=torch.bool, device=found.device))
        told = labels.to(found.device)
        return {"probe": linear_accuracy(unit, told), "knn": knn_accuracy(unit, told)}

    return probe
