"""How often each class truly is, among all rows and among the trusted ones, who may be a draw of their own.

People balance trusted rows over the classes although their data are not. Whether they did shows in the given labels:
those of trusted rows are spread as those of all rows, or else a Dirichlet-multinomial around the shares of all rows
explains them better. Then log(share among trusted / share among all) corrects what is fitted on trusted rows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.purify.transition import Transition

EM_STEPS = 100
EVIDENCE = 3.0  # nats, about 20 to 1, before trusted rows count as another draw than the data
CONCENTRATIONS = torch.logspace(-1, 3, 40, dtype=torch.float64)


@dataclass(frozen=True)
class Prior:
    """Class shares in one view."""

    shares: Tensor  # [K] float64 among all train rows, estimated through T
    offset: Tensor  # [K] float64: log(share among trusted rows / share among all), 0 where both are one draw

    @property
    def shifted(self) -> bool:
        """Tell whether the trusted rows have another mix of classes than the data."""
        return bool((self.offset != 0).any())


def class_shares(counts: Tensor, transition: Transition) -> Tensor:
    """Estimate the shares of the true classes [K] from counts of given labels [K], by expectation-maximisation."""
    seen = counts / counts.sum().clamp_min(1)
    shares = torch.full_like(seen, 1 / len(seen))
    if transition.symmetric:
        off = transition.rate / (transition.classes - 1)
        shares = (seen - off) / (1 - transition.rate - off)
    else:
        matrix = transition.matrix
        for _ in range(EM_STEPS):
            shares = shares * (matrix @ (seen / (shares @ matrix).clamp_min(1e-12)))
    shares = shares.clamp_min(0.1 / max(float(counts.sum()), 1.0))
    return shares / shares.sum()


def estimate_prior(counts: Tensor, drawn: Tensor, transition: Transition, shifted: bool) -> Prior:
    """Compare the classes of trusted rows, as weights [K], with given labels counted over all rows [K]."""
    shares = class_shares(counts, transition)
    if not shifted or not bool((drawn > 0).any()):
        return Prior(shares, torch.zeros_like(shares))
    among = (drawn + shares) / (drawn.sum() + 1)
    return Prior(shares, (among / shares).log())


def is_another_draw(counts: Tensor, drawn: Tensor) -> bool:
    """Tell whether given labels of trusted rows [K] are spread unlike those of all rows [K]."""
    if drawn.sum() == 0 or counts.sum() == 0:
        return False
    base = (counts + 0.5) / (counts.sum() + 0.5 * len(counts))
    seen = drawn > 0
    a = CONCENTRATIONS.to(base.device)[:, None] * base[seen]
    total = CONCENTRATIONS.to(base.device)
    spread = torch.lgamma(total) - torch.lgamma(total + drawn.sum())
    spread = spread + (torch.lgamma(a + drawn[seen]) - torch.lgamma(a)).sum(1)
    one_draw = float((drawn[seen] * base[seen].log()).sum())
    return float(torch.logsumexp(spread, 0)) - math.log(len(total)) - one_draw > EVIDENCE


def describe_shift(prior: Prior, names: Sequence[str]) -> str:
    """Say in a sentence that trusted rows have another mix of classes ('' where they have not)."""
    if not prior.shifted:
        return ""
    k = int(prior.offset.abs().argmax())
    share, among = float(prior.shares[k]), float(prior.shares[k] * prior.offset[k].exp())
    return (
        f"Trusted rows have another mix of classes than the data: '{names[k]}' is {among:.1%} of them and about "
        f"{share:.1%} of the data. Calibration and audit allow for that; the audit rests on fewer rows by it."
    )
