"""The images behind features, made tiny: what raw pixels tell of trusted rows is the least that features must beat."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from pipeline.artifacts import Artifact
from pipeline.datasets.images import open_images
from pipeline.errors import PuriflowError
from pipeline.store import Store
from stages.images.decoding import decode_rows

SIDE = 8  # pixels
MOST_PICTURES = 300  # decoded for the verdict, as purify shall take seconds

LoadPixels = Callable[[Tensor], Tensor | None]  # row numbers [n] → [n, 3 × SIDE²]; None where there are no images


def no_pixels(_rows: Tensor) -> None:
    """Stand for features that came without images."""


def pixels_behind(features: Artifact, store: Store) -> LoadPixels:
    """Find the images that features were made of: they stand in the lineage, so in the key of whatever is asked."""
    ref = features.manifest.inputs.get("images")
    found = store.find(ref.kind, ref.key) if ref else None
    if found is None:
        return no_pixels
    images = open_images(found)

    def load(rows: Tensor) -> Tensor | None:
        try:
            pixels = decode_rows(images, rows.cpu().numpy().astype(np.int64), SIDE)
        except PuriflowError:  # gone or damaged since: the features are still judged against chance
            return None
        return torch.from_numpy(pixels).flatten(1).to(rows.device, torch.float32)

    return load
