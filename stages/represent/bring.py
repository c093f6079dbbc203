"""Bring an encoder from a file: fit it, write it down, and measure without labels whether it sees these images well."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from pipeline.datasets.images import open_images
from pipeline.weights import checked_weights
from stages.images.cache import ImageCache
from stages.images.decoding import Fit
from stages.images.load import load_pixels
from stages.networks.devices import pick_device
from stages.networks.encoder import CENTRE_FILE, save_encoder
from stages.networks.familiarity import doubts
from stages.represent.config import RepresentConfig
from stages.represent.measure import mean_feature, measure, warnings_of
from stages.represent.methods.weights import bring
from stages.represent.produce import ROWS_FILE, usable_rows
from stages.shell import Context

AT_ONCE = 64
LOOKED_AT = 256  # images: enough for the first layer, and seconds on a CPU


def produce_brought(config: RepresentConfig, context: Context) -> dict[str, Any]:
    """Write the brought encoder and what a few images, spread evenly, say about it."""
    device = pick_device(context.resources.device, context.ranks)
    torch.set_num_threads(context.workers)
    path, checksum = checked_weights(config.weights.path, config.weights.sha256)
    if not context.ranks.main:  # one process is enough
        return {}
    brought = bring(config, path)
    images = open_images(context.input("images"))
    rows = usable_rows(images)
    save_encoder(brought.encoder, context.folder)
    pq.write_table(
        pa.table({"sha256": images.rows["sha256"].take(pa.array(rows))}), context.folder / ROWS_FILE, compression="zstd"
    )
    count = min(len(rows), LOOKED_AT)
    encoder, description = brought.encoder.to(device), brought.encoder.description
    cache = ImageCache(
        load_pixels(images, rows[np.arange(count) * len(rows) // count], Fit(*description.fit), context), device
    )
    strange, warning = doubts(encoder.backbone, cache.batch(torch.arange(count)), description.mean, description.std)
    gently = config.model_copy(update={"batch_size": min(config.batch_size, AT_ONCE)})
    measured = measure(encoder, gently, cache)
    np.save(context.folder / CENTRE_FILE, mean_feature(encoder, cache, gently.batch_size), allow_pickle=False)
    warnings = [w for w in (warning, *warnings_of(measured["effective_rank"], encoder.dim, count)) if w]
    return {
        "rows": len(rows), "sha256": checksum, **brought.told, "image_size": description.image_size,
        "strangeness": strange, "warnings": warnings, **measured, "dim": encoder.dim, "device": device.type,
    }  # fmt: skip
