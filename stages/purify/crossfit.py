"""Calibrate a method in every view, and judge every trusted row by the view that does not know it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stages.purify.audit import Judged
from stages.purify.calibrate import Calibration, Pairs, fit_calibration
from stages.purify.sample import Fitted, Learning, Sample, few_rows
from stages.purify.transition import Crowd, Learned
from stages.purify.views import Plan

MOST_BELIEFS = 100  # classes up to which whole beliefs are kept


@dataclass(frozen=True)
class Calibrated:
    """A fitted method whose probabilities can be believed."""

    sample: Sample
    plan: Plan
    fitted: Fitted
    calibrations: tuple[Calibration, ...]  # one for each view
    keeps: bool  # suggests the given label wherever there is one

    def fuse(self, rows: Tensor, log_beliefs: Tensor, view: int) -> Tensor:
        """Turn the beliefs about rows [n, K] into probabilities."""
        evidence = noise_of(self.fitted, self.plan, view).log_evidence(self.sample.said[rows], log_beliefs.dtype)
        return self.calibrations[view].fuse(log_beliefs, self.sample.given[rows], evidence)

    def probabilities(self, rows: Tensor, view: int) -> Tensor:
        """Return the probability of each class for rows [n, K]."""
        return self.fuse(rows, self.fitted.beliefs(rows, view), view)

    def suggest(self, rows: Tensor, probabilities: Tensor) -> Tensor:
        """Return the best answer for rows [n]."""
        given, best = self.sample.given[rows], probabilities.argmax(1)
        return torch.where(given >= 0, given, best) if self.keeps else best


def chunks(rows: Tensor, classes: int) -> Iterator[Tensor]:
    """Go through rows, few enough at a time to hold their beliefs."""
    yield from torch.split(rows, min(max(4_000_000 // classes, 64), 8192))


def noise_of(fitted: Fitted, plan: Plan, view: int) -> Crowd | Learned:
    """Return who gave the labels, as a view knows them: a lone annotator by what the method learned of them."""
    crowd = plan.views.crowds[view]
    return fitted.transitions[view] if isinstance(fitted, Learning) and len(crowd.members) == 1 else crowd


def calibrate(sample: Sample, plan: Plan, fitted: Fitted, ridge: float, keeps: bool = False) -> Calibrated:
    """Calibrate each view on the judges that it knows."""
    result = []
    for view in range(len(plan.views)):
        positions = plan.judges[plan.views.known[view, plan.judges]]
        positions = positions[few_rows(sample.draw[plan.views.rows[positions]], 3 * sample.classes)]
        rows = plan.views.rows[positions]
        found = [fitted.beliefs(part, view) for part in chunks(rows, sample.classes) if len(part)]
        pairs = plan.pairs(sample, positions)
        offset = plan.views.priors[view].offset
        noise = noise_of(fitted, plan, view)
        result.append(fit_calibration(torch.cat(found), pairs, noise, ridge, offset) if found else Calibration())
    return Calibrated(sample, plan, fitted, tuple(result), keeps)


def cross_fit(method: Calibrated, keep: Calibrated) -> Judged:
    """Judge the trusted rows of every fold, in dataset order."""
    plan = method.plan
    folds = plan.fold[plan.judges]
    parts = [_judge(method, keep, plan.judges[folds == view], view) for view in range(len(plan.views))]
    return _sorted(parts)


def judge_held(method: Calibrated, keep: Calibrated, labels: Tensor) -> Judged:
    """Judge the held-out rows, whose labels are among `labels` [N], by the view that knows all others."""
    rows = method.plan.held
    ones = torch.ones(len(rows), dtype=torch.float64, device=rows.device)
    sample, weights = method.sample, method.plan.fair(labels[rows], ones)
    pairs = Pairs(labels[rows], sample.given[rows], weights, sample.said[rows])
    return _judge_rows(method, keep, rows, (0, pairs))


def _judge(method: Calibrated, keep: Calibrated, positions: Tensor, view: int) -> Judged:
    plan = method.plan
    pairs = replace(plan.pairs(method.sample, positions), weights=plan.fair_weights[positions])
    return _judge_rows(method, keep, plan.views.rows[positions], (view, pairs))


def _judge_rows(method: Calibrated, keep: Calibrated, rows: Tensor, judged_by: tuple[int, Pairs]) -> Judged:
    view, pairs = judged_by
    suggested, chances, losses, beliefs = [], [], [], []
    for part, labels in zip(
        chunks(rows, method.sample.classes), chunks(pairs.labels, method.sample.classes), strict=True
    ):
        here, alone = method.probabilities(part, view).double(), keep.probabilities(part, view).double()
        best = method.suggest(part, here)
        suggested.append(best)
        given = method.sample.given[part]
        chance = here.gather(1, torch.stack([best, given.clamp_min(0)], dim=1))
        chances.append(torch.stack([chance[:, 0], chance[:, 1] * (given >= 0)], dim=1))
        true = labels[:, None]
        losses.append(torch.cat([p.gather(1, true) for p in (here, alone)], dim=1).clamp_min(1e-9).log().neg())
        beliefs.append(here.float() if here.shape[1] <= MOST_BELIEFS else here.new_zeros(len(part), 0).float())
    loss, chance = torch.cat(losses), torch.cat(chances)
    folds = torch.full_like(rows, view)
    said = (torch.cat(suggested), chance[:, 0], chance[:, 1])
    return Judged(rows, folds, pairs, *said, loss[:, 0], loss[:, 1], torch.cat(beliefs))


def _sorted(parts: list[Judged]) -> Judged:
    """Join judgements and bring them into dataset order."""
    order = torch.cat([p.rows for p in parts]).argsort()

    def join(name: str) -> Tensor:
        return torch.cat([getattr(p, name) for p in parts])[order]

    pairs = [torch.cat([getattr(p.pairs, n) for p in parts])[order] for n in ("labels", "given", "weights", "said")]
    names = ("suggested", "confidence", "given_confidence", "log_loss", "keep_log_loss", "beliefs")
    return Judged(join("rows"), join("folds"), Pairs(*pairs), *(join(n) for n in names))
