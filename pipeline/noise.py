"""Synthetic label noise with an exact share of wrong labels, drawn by seed."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.errors import ConfigError, DataError

Kind = Literal["symmetric", "uniform", "asymmetric", "pair"]
KINDS: tuple[Kind, ...] = ("symmetric", "uniform", "asymmetric", "pair")

Labels = npt.NDArray[np.integer]


def inject(  # noqa: PLR0913 (what noise is, and nothing else)
    labels: Labels, kind: Kind, rate: float, classes: int, seed: int, mapping: Mapping[int, int] | None = None
) -> Labels:
    """Return noisy labels: exactly round(rate * rows) of the labelled rows are redrawn.

    symmetric: a uniformly drawn other class; uniform: any class, the right one included; asymmetric: class c becomes
    c + 1 (or `mapping[c]`; classes outside the mapping stay); pair: classes 0 and 1, 2 and 3, … change places.
    """
    if classes < 2:
        raise DataError(f"noise needs at least 2 classes; there is {classes}.", "Name a data set with more classes.")
    if not 0 <= rate <= 1:
        raise ConfigError(f"noise rate {rate} is not within 0 and 1.", "Give a share, such as 0.4.")
    generator = np.random.default_rng(seed)
    targets = _targets(kind, classes, mapping)
    labelled = np.flatnonzero(labels >= 0)
    movable = labelled if targets is None else labelled[targets[labels[labelled]] != labels[labelled]]
    chosen = generator.permutation(movable)[: round(rate * len(movable))]
    noisy = labels.copy()
    if targets is not None:
        noisy[chosen] = targets[labels[chosen]]
    elif kind == "uniform":
        noisy[chosen] = generator.integers(0, classes, len(chosen))
    else:
        noisy[chosen] = (labels[chosen] + generator.integers(1, classes, len(chosen))) % classes
    return noisy


def _targets(kind: Kind, classes: int, mapping: Mapping[int, int] | None) -> npt.NDArray[np.int64] | None:
    """Say what each class turns into, where the kind decides that."""
    own = np.arange(classes)
    if kind == "pair":
        partner = own ^ 1
        return np.where(partner < classes, partner, own)
    if kind != "asymmetric":
        return None
    if mapping is None:
        return (own + 1) % classes
    outside = [c for pair in mapping.items() for c in pair if not 0 <= c < classes]
    if outside:
        raise ConfigError(f"noise maps class {outside[0]}; classes are 0..{classes - 1}.", "Mend the mapping.")
    targets = own.copy()
    targets[list(mapping)] = list(mapping.values())
    return targets
