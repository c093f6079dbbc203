"""Keep every given label.

The belief about the true one is the frequency of the classes; the last step turns it and T into a confidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.purify.sample import Sample
from stages.purify.targets import Targets


@dataclass(frozen=True)
class Keep:
    """Beliefs that know no features."""

    sample: Sample
    log_share: Tensor  # [views, K]

    def beliefs(self, rows: Tensor, view: int) -> Tensor:
        """Return the log-frequency of each class [n, K]."""
        return self.log_share[view].expand(len(rows), -1)

    def answer(self, rows: Tensor, log_beliefs: Tensor) -> Tensor:
        """Return the given labels of rows [n], or the most frequent one where there is none."""
        given = self.sample.given[rows]
        return torch.where(given >= 0, given, log_beliefs.argmax(1))


def fit(sample: Sample, targets: Sequence[Targets]) -> Keep:
    """Count the classes."""
    shares = torch.stack([target.mean for target in targets])
    return Keep(sample, shares.clamp_min(1e-6).log())
