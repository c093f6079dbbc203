"""How an encoder does, without labels: measured while it learns and at the end, judged, and when it learned enough."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from stages.images.augment import augment
from stages.images.cache import ImageCache
from stages.networks.compiling import uncompiled
from stages.networks.encoder import Encoder
from stages.represent.config import RepresentConfig
from stages.represent.core import alignment, effective_rank, uniformity

MEASURED = 2048
WATCHED = (256, 1024)  # images at least and at most, an eighth of the dataset between
COST = 0.02  # of an epoch, which measuring may take where the dataset is not tiny
FORWARDS = 2.0  # what measuring an image costs, in what an epoch spends on one: float32 instead of mixed precision
MOST_RECORDS, FEWEST_RECORDS = 50, 10
COLLAPSED = 0.02  # of the directions there could be

Record = Mapping[str, float]


def measure(encoder: Encoder, config: RepresentConfig, cache: ImageCache, most: int = MEASURED) -> dict[str, float]:
    """Measure what needs no labels, on some images spread evenly over the dataset; the encoder is in eval mode then."""
    count = min(len(cache), most)
    rows = torch.arange(count) * len(cache) // count
    generator = torch.Generator(encoder.mean.device).manual_seed(config.seed)
    plain, first, second = [], [], []
    encoder.eval()
    with torch.inference_mode(), uncompiled():
        for some in torch.split(rows, config.batch_size):
            images = cache.batch(some)
            plain.append(encoder(images))
            first.append(encoder(augment(images, config.augmentation, generator)))
            second.append(encoder(augment(images, config.augmentation, generator)))
    features = torch.cat(plain)
    return {
        "effective_rank": effective_rank(features),
        "alignment": alignment(torch.cat(first), torch.cat(second)),
        "uniformity": uniformity(features),
    }


def mean_feature(encoder: Encoder, cache: ImageCache, batch: int) -> NDArray[np.float32]:
    """Average the features of images spread evenly over the dataset: what cosines are seen from, now and later."""
    count = min(len(cache), MEASURED)
    rows = torch.arange(count) * len(cache) // count
    encoder.eval()
    with torch.inference_mode():
        total = torch.stack([encoder(cache.batch(some)).double().sum(dim=0) for some in torch.split(rows, batch)])
    result: NDArray[np.float32] = (total.sum(dim=0) / count).float().cpu().numpy()
    return result


def watched(rows: int) -> int:
    """Say how many of the dataset's images are measured while the encoder learns."""
    least, most = WATCHED
    return min(rows, max(least, min(most, rows // 8)))


def epochs_between(config: RepresentConfig, rows: int) -> int:
    """Say after how many epochs to measure again, so that it costs little and the curve has points enough."""
    for_cost = math.ceil(FORWARDS * watched(rows) / rows / COST)
    between = max(math.ceil(config.epochs / MOST_RECORDS), min(for_cost, math.ceil(config.epochs / FEWEST_RECORDS)))
    return min(between, config.patience) if config.patience else between


def learned_enough(curve: Sequence[Record], patience: int, plateau: float) -> bool:
    """Tell whether, in the last `patience` epochs, neither mean loss nor effective rank got better by the share."""
    if patience == 0 or len(curve) < 2 * patience:
        return False
    losses = [record["loss"] for record in curve]
    now, before = math.fsum(losses[-patience:]) / patience, math.fsum(losses[-2 * patience : -patience]) / patience
    ranks = [newest_rank(curve), newest_rank(curve[:-patience])]
    if ranks[0] is None or ranks[1] is None:
        return False
    return before - now < plateau * abs(before) and ranks[0] - ranks[1] < plateau * ranks[1]


def newest_rank(curve: Sequence[Record]) -> float | None:
    """Return the effective rank that was measured last."""
    return next((record["effective_rank"] for record in reversed(curve) if "effective_rank" in record), None)


def has_collapsed(rank: float, dim: int, images: int) -> bool:
    """Tell whether features use next to none of the directions that they could."""
    return images > 2 and rank < 1 + COLLAPSED * min(dim, images - 1)


def warnings_of(rank: float, dim: int, images: int) -> list[str]:
    """Say what is wrong with an encoder, and what to do."""
    if not has_collapsed(rank, dim, images):
        return []
    return [
        f"The encoder collapsed: effective rank {rank:.1f} of {dim}, so all images look alike to it. Lower "
        "represent.learning_rate, try method simclr or vicreg, weaken the augmentation, or see if the images differ."
    ]
