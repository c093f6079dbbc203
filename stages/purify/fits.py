"""Which fit may speak about which row, for methods that learn from trusted labels.

A fit that learned a row's trusted label may not speak about that row. The trusted rows lie in G groups of audit folds.
One fit knows all of them, one is without each group, one without each pair of groups: 1 + G + G (G − 1) / 2 fits serve
every view. In view 0 a row is judged by the fit without its own group; in view f + 1 also without the group of fold f.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.purify.sample import Sample
from stages.purify.targets import Targets

GROUPS = 4


@dataclass(frozen=True)
class Fits:
    """The fits H of a method, and the trusted rows V that each may know."""

    rows: Tensor  # [V] long
    labels: Tensor  # [V] long
    known: Tensor  # [H, V] bool
    group: Tensor  # [N] long: 1..G for trusted rows, 0 for all others
    places: Tensor  # [G + 1, G + 1] long: the fit without two groups (0 = none); fit 0 knows every trusted row

    def __len__(self) -> int:
        return len(self.known)

    def speaking(self, rows: Tensor, view: int) -> Tensor:
        """Return the fit that may speak about each row [n] in a view."""
        groups = len(self.places) - 1
        left_out = 0 if view == 0 or groups == 0 else (view - 1) % groups + 1
        return self.places[left_out, self.group[rows]]

    def parts(self, rows: Tensor, view: int) -> Iterator[tuple[int, Tensor]]:
        """Go through the fits that speak in a view, each with the positions among rows [n] that it speaks about."""
        speaking = self.speaking(rows, view)
        for fit in torch.unique(speaking).tolist():
            yield fit, torch.where(speaking == fit)[0]


def plan_fits(sample: Sample, targets: Sequence[Targets]) -> Fits:
    """Group the trusted rows by the views that do not know them; rows that every view knows lie in any group."""
    rows = torch.where(targets[0].trusted >= 0)[0]
    rows = rows[sample.draw[rows].argsort(stable=True)]
    groups = min(GROUPS, max(len(targets) - 1, 2)) if len(rows) else 0
    group = torch.zeros(len(sample), dtype=torch.long, device=rows.device)
    if groups:
        group[rows] = torch.arange(len(rows), device=rows.device) % groups + 1
        for view, target in enumerate(targets[1:]):
            group[rows[target.trusted[rows] < 0]] = view % groups + 1
    places = torch.zeros(groups + 1, groups + 1, dtype=torch.long)
    known = [torch.ones(len(rows), dtype=torch.bool, device=rows.device)]
    for one in range(groups + 1):
        for other in range(max(one, 1), groups + 1):
            alone = one in (0, other)
            if alone and one:
                places[one, one] = places[0, one]
                continue
            places[one, other] = places[other, one] = len(known)
            known.append((group[rows] != other) & ((group[rows] != one) if one else True))
    return Fits(rows, targets[0].trusted[rows], torch.stack(known), group, places.to(rows.device))
