"""Do images look to a trained network like those it was trained on? Its first batch norm remembers what it saw.

strangeness = median over the channels of KL(N(m, v) ‖ N(M, V)): m, v the mean and variance that the first batch norm
is given now, M, V those that it stored in training. The median, as blur or enlargement changes only some channels.
Measured with EfficientNet-lite0 on CIFAR-10: 0.02 when normalised rightly, 0.35 and more when wrongly. Colours in the
order BGR are not told: 0.05.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from stages.networks.preprocessing import BYTES, CENTRED_BYTES, HALF, IMAGENET, NONE, Channels

STRANGE = 0.2  # below it there is nothing to say
CLEARLY = 3.0  # another normalisation must be so much better: a dataset of another kind is strange in any of them
TOLERABLE = 1.0  # above it the other normalisation is wrong as well
WILD = 5.0  # no dataset is as strange as that, only a wrong scale
KNOWN: Mapping[str, tuple[Channels, Channels]] = {
    "imagenet": IMAGENET, "half": HALF, "none": NONE, "custom": BYTES,
    "custom for centred bytes": CENTRED_BYTES,
}  # fmt: skip


class _SeenError(Exception):
    """The first batch norm got its input; the rest of the network need not run."""


def strangeness(backbone: nn.Module, images: Tensor, mean: Channels, std: Channels) -> float | None:
    """Measure images [n, 3, h, w] in 0..1, normalised so, at the first batch norm; None where there is none."""
    seen: list[tuple[_BatchNorm, Tensor]] = []

    def look(norm: nn.Module, inputs: tuple[Any, ...]) -> None:
        if isinstance(norm, _BatchNorm):
            seen.append((norm, inputs[0]))
        raise _SeenError

    norms = [m for m in backbone.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    hooks = [norm.register_forward_pre_hook(look) for norm in norms]
    shape = (1, 3, 1, 1)
    try:
        with torch.inference_mode():
            backbone((images - images.new_tensor(mean).view(shape)) / images.new_tensor(std).view(shape))
    except _SeenError:
        return median_divergence(*seen[0])
    finally:
        for hook in hooks:
            hook.remove()
    return None


def median_divergence(norm: _BatchNorm, inputs: Tensor) -> float:
    """Compare what a batch norm is given, [n, c, …], with what it stored."""
    values = inputs.double().transpose(0, 1).flatten(1)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    stored = norm.running_var.double() + norm.eps
    ratio = (values.var(dim=1, unbiased=False) + norm.eps) / stored
    shift = (values.mean(dim=1) - norm.running_mean.double()).square() / stored
    return float(((ratio - 1 - ratio.log() + shift) / 2).median())


def doubts(backbone: nn.Module, images: Tensor, mean: Channels, std: Channels) -> tuple[float | None, str]:
    """Measure the strangeness as normalised, and say in a sentence what other normalisation suits far better."""
    found = strangeness(backbone, images, mean, std)
    if found is None or found < STRANGE:
        return found, ""
    others = {name: strangeness(backbone, images, *numbers) or 0.0 for name, numbers in KNOWN.items()}
    best = min(others, key=lambda name: others[name])
    said = f"To the network's first layer these images look unlike those it was trained on (strangeness {found:.2g})"
    if others[best] < TOLERABLE and others[best] * CLEARLY <= found:
        numbers = f"mean {rounded(KNOWN[best][0])}, std {rounded(KNOWN[best][1])}"
        return found, f"{said}; with represent.weights.normalise: {best} ({numbers}) {others[best]:.2g}. Try that."
    if found > WILD:
        return found, f"{said}: mean and std are of another scale than its training's. Images come in 0..1, RGB."
    return found, ""


def rounded(numbers: Channels) -> list[float]:
    """Write numbers shortly."""
    return [round(number, 6) for number in numbers]
