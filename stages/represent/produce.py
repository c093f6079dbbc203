"""Train an encoder and write it down."""

import time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.artifacts import Artifact
from pipeline.datasets.images import ImageRows, open_images
from pipeline.errors import ConfigError, DataError, ResourceError
from stages.images.augment import augment
from stages.images.cache import ImageCache
from stages.images.load import load_pixels
from stages.networks.compiling import compile_members
from stages.networks.devices import mixed_precision, pick_device
from stages.networks.encoder import CENTRE_FILE, Encoder, EncoderDescription, save_encoder
from stages.networks.recompute import recompute_blocks
from stages.networks.sharing import share_network
from stages.represent.config import RepresentConfig
from stages.represent.learner import Learner, build_learner
from stages.represent.measure import (
    epochs_between,
    has_collapsed,
    learned_enough,
    mean_feature,
    measure,
    warnings_of,
    watched,
)
from stages.represent.patch_encoder import fit_patches
from stages.represent.probe import Probe, load_probe
from stages.represent.start import start_from
from stages.shell import Context
from stages.training.loop import Curve, Loop, Watch
from stages.training.optimisers import build_optimiser
from stages.training.schedule import Plan
from stages.training.state import TrainingState

ROWS_FILE = "rows.parquet"
BATCH_OF_RATE = 256  # the batch that learning_rate is given for


def produce(config: RepresentConfig, context: Context) -> dict[str, Any]:
    """Decode the images once, train, measure, write encoder and the checksums of what it saw; or bring one."""
    if config.method == "weights":
        from stages.represent.bring import produce_brought

        return produce_brought(config, context)
    device = pick_device(context.resources.device, context.ranks)
    torch.set_num_threads(context.workers)
    images = open_images(context.input("images"))
    rows = usable_rows(images)
    cache = ImageCache(load_pixels(images, rows, config.image_size, context), device)
    if config.method == "patches" and not context.ranks.main:  # one process makes them
        return {}
    encoder, learned = make_encoder(config, context, cache, device)
    if not context.ranks.main:
        return {}
    save_encoder(encoder.cpu().to(memory_format=torch.contiguous_format), context.folder)
    seen = images.rows["sha256"].take(pa.array(rows))
    pq.write_table(pa.table({"sha256": seen}), context.folder / ROWS_FILE, compression="zstd")
    measured = measure(encoder.to(device), config, cache)
    np.save(context.folder / CENTRE_FILE, mean_feature(encoder, cache, config.batch_size), allow_pickle=False)
    warnings = [*learned.pop("warnings", []), *warnings_of(measured["effective_rank"], encoder.dim, len(rows))]
    made = {"rows": len(rows), **learned, **measured, "dim": encoder.dim, "device": device.type}
    return {**made, "warnings": warnings} if warnings else made


def make_encoder(
    config: RepresentConfig, context: Context, cache: ImageCache, device: torch.device
) -> tuple[Encoder, dict[str, Any]]:
    """Make the encoder by the chosen method; return it with what the making tells."""
    if config.method == "patches":
        return fit_patches(config, context, cache, device)
    try:
        return learn(config, context, cache, device)
    except torch.OutOfMemoryError as error:
        raise out_of_memory(config, error) from error


def learn(
    config: RepresentConfig, context: Context, cache: ImageCache, device: torch.device
) -> tuple[Encoder, dict[str, Any]]:
    """Train a network by the loop."""
    network = (
        build_network(config, cache, context.optional_input("start")).to(device).to(memory_format=torch.channels_last)
    )
    unheeded = compile_members(network, device) if config.compile else ""
    started = time.monotonic()
    state = train(config, context, network, cache, device)
    rate = len(cache) * len(state.curve) / max(time.monotonic() - started, 1e-9)
    learned = {**told(state.curve), "images_per_second": round(rate, 1)}
    return network.result, {**learned, "warnings": [unheeded]} if unheeded else learned


def told(curve: list[dict[str, float]]) -> dict[str, Any]:
    """Say what was noted of every epoch: the losses, and the epochs in which more was measured."""
    losses = [record["loss"] for record in curve]
    measured = [record for record in curve if "effective_rank" in record]
    return {"loss": losses[-1], "epochs": len(curve), "curve": losses, "measured": measured}


def out_of_memory(config: RepresentConfig, error: torch.OutOfMemoryError) -> ResourceError:
    """Say what to lower where the GPU's memory is too small, first what changes the least."""
    first = "" if config.recompute else "Set represent.recompute (slower, the same result). "
    return ResourceError(
        f"the GPU's memory is too small for represent: {config.method} on {config.backbone}, {config.batch_size} "
        f"images of {config.image_size} pixels a step ({str(error).splitlines()[0]}).",
        f"{first}Raise represent.accumulate above {config.accumulate}, or lower represent.batch_size or image_size.",
    )


def usable_rows(images: ImageRows) -> NDArray[np.int64]:
    """List the rows whose image can be decoded; a contrast takes two at least."""
    rows = np.flatnonzero(images.ok)
    if len(rows) < 2:
        raise DataError(
            f"represent needs at least 2 usable images, this dataset has {len(rows)} of {len(images)}.",
            "Add images, or bring features (dataset.kind: features).",
        )
    return rows


def build_network(config: RepresentConfig, cache: ImageCache, start: Artifact | None) -> Learner:
    """Build encoder, head and loss of the chosen method, the encoder new or an earlier one."""
    mean, std = cache.mean_and_std()
    torch.manual_seed(config.seed)  # the one place where torch's layers draw their first weights
    description = EncoderDescription(
        backbone=config.backbone, width=config.width, image_size=config.image_size, mean=mean, std=std,
        method=config.method,
    )  # fmt: skip
    encoder = start_from(start, description) if start else Encoder(description)
    learner = build_learner(encoder, config)
    learner.parts = config.accumulate
    if config.recompute:  # after the methods copied it: a teacher keeps nothing anyway
        recompute_blocks(learner.encoder)
    return learner


def train(
    config: RepresentConfig, context: Context, network: Learner, cache: ImageCache, device: torch.device
) -> TrainingState:
    """Train encoder and head; two views of each image are one batch."""
    ranks = context.ranks
    plan = Plan(
        len(cache), config.batch_size, config.epochs, config.seed, config.warmup,
        keep_rest=False, share=ranks.rank, shares=ranks.world,
    )  # fmt: skip
    if plan.batch < 2 * ranks.world:
        raise ConfigError(
            f"a step has {min(config.batch_size, len(cache))} images for {ranks.world} processes; each needs 2.",
            "Start fewer processes, or raise represent.batch_size.",
        )
    shared = share_network(network, ranks, device, own_norms=network.own_norms, freezes=network.freezes)
    rate = config.learning_rate * plan.batch / BATCH_OF_RATE
    state = TrainingState(network, build_optimiser(network, config.optimizer, rate, config.weight_decay))

    def loss_of(rows: Tensor, generator: torch.Generator) -> Tensor:
        images = cache.batch(rows, plan.rows_after(state.step))
        views = augment(torch.cat([images, images]), config.augmentation, generator)
        further = network.further_views(images, config.augmentation, generator)
        with mixed_precision(device, config.precision == "mixed"):
            loss: Tensor = shared(views, *further, done=state.step / plan.steps)
        return loss

    Loop(context, plan, rate, device).run(
        state, loss_of, watch_over(config, network, cache, load_probe(config, context, cache))
    )
    return state


def watch_over(config: RepresentConfig, network: Learner, cache: ImageCache, probe: Probe) -> Watch:
    """Measure every few epochs what needs no labels, show it, and see when the encoder learned enough."""
    shown: dict[str, float | str] = {}
    between, most = epochs_between(config, len(cache)), watched(len(cache))

    def after_epoch(epoch: int) -> dict[str, float]:
        if epoch % between:
            return {}
        found = measure(network.result, config, cache, most)
        shown.clear()
        shown.update(probe(network.result))
        if has_collapsed(found["effective_rank"], network.result.dim, most):
            shown["warning"] = "collapsed"
        shown.update(rank=found["effective_rank"], alignment=found["alignment"], uniformity=found["uniformity"])
        return found

    def enough(curve: Curve) -> bool:
        return learned_enough(curve, config.patience, config.plateau)

    return Watch(after_epoch, enough, config.checkpoint_epochs, shown)
