"""Which trusted rows each fit may know: audit folds, the held-out share, and rows that were picked."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stages.linear.votes import count_labels
from stages.purify.audit import hash_draw
from stages.purify.calibrate import Pairs
from stages.purify.config import PurifyConfig
from stages.purify.prior import Prior, class_shares, estimate_prior, is_another_draw
from stages.purify.sample import Sample, Views
from stages.purify.transition import Crowd, Transition, estimate_transition

HEAVIEST = 10.0  # a row of tiny propensity may not decide alone
LARGEST_GUESS = 0.5


@dataclass(frozen=True)
class Trust:
    """What is known about the trusted rows."""

    labels: Tensor  # [N] long, -1 where unknown
    picked: Tensor  # [N] bool: selected by somebody, with no known propensity
    weights: Tensor  # [N] float64: 1 / propensity, 1 where unknown
    groups: Sequence[str]  # [N] names that draw folds: near duplicates share one


@dataclass(frozen=True)
class Plan:
    """The views, and the rows that judge."""

    views: Views
    judges: Tensor  # [v] positions in views.rows of those that calibrate and judge
    fold: Tensor  # [V] the view that does not know the row (0 for rows that never judge)
    weights: Tensor  # [V] float64, by which rows are fitted
    held: Tensor  # [h] rows [N] that are held out as a yardstick

    @property
    def fair_weights(self) -> Tensor:
        """Weigh the views' rows [V] as they judge: as if their mix of classes were that of the data."""
        found = torch.zeros_like(self.weights)
        found[self.judges] = self.fair(self.views.labels[self.judges], self.weights[self.judges])
        return found

    def fair(self, labels: Tensor, weights: Tensor) -> Tensor:
        """Bring trusted rows [v] to the mix of classes that the data have; mean 1."""
        return _bounded(weights * (-self.views.priors[0].offset[labels]).exp())

    def pairs(self, sample: Sample, positions: Tensor) -> Pairs:
        """Return trusted rows by their position among the views' rows."""
        rows = self.views.rows[positions]
        return Pairs(self.views.labels[positions], sample.given[rows], self.weights[positions], sample.said[rows])


def plan_views(sample: Sample, trust: Trust, config: PurifyConfig) -> Plan:
    """Draw the held-out share and the folds, and estimate T in every view."""
    usable = (trust.labels >= 0) & sample.teaches
    trusted = torch.where(usable)[0]
    names = [trust.groups[i] for i in trusted.tolist()]
    device = sample.given.device
    held = (hash_draw(config.seed, "audit", names).to(device) < config.audit_share) & ~trust.picked[trusted]
    folds = (hash_draw(config.seed, "fold", names).to(device) * config.folds).long()[~held]
    rows = trusted[~held]
    judges = torch.where(~trust.picked[rows])[0]
    used, compact = torch.unique(folds[judges], return_inverse=True)
    fold = torch.zeros_like(rows)
    fold[judges] = compact + 1
    known = torch.stack([torch.ones_like(fold, dtype=torch.bool), *(fold != view + 1 for view in range(len(used)))])
    weights = _balanced(trust.weights[rows], judges)
    plan = Plan(Views(rows, trust.labels[rows], known, ()), judges, fold, weights, trusted[held])
    transitions = _transitions(sample, plan)
    crowds = tuple(_crowd(sample, plan, view, t) for view, t in enumerate(transitions))
    plan = replace(plan, views=replace(plan.views, transitions=transitions, crowds=crowds))
    return replace(plan, views=replace(plan.views, priors=_priors(sample, plan)))


def _balanced(weights: Tensor, judges: Tensor) -> Tensor:
    if len(judges) == 0:
        return weights
    relative = (weights / weights[judges].mean()).clamp(max=HEAVIEST)
    return relative / relative[judges].mean()


def _bounded(weights: Tensor) -> Tensor:
    return _balanced(weights, torch.arange(len(weights), device=weights.device))


def _priors(sample: Sample, plan: Plan) -> tuple[Prior, ...]:
    """Estimate class shares in every view, and whether the judges are another draw than the data."""

    def count(labels: Tensor, weights: Tensor) -> Tensor:
        found = torch.zeros(sample.classes, dtype=torch.float64, device=labels.device)
        return found.index_add_(0, labels[labels >= 0], weights[labels >= 0])

    given = torch.where(sample.teaches, sample.given, -1)
    counts = count(given, torch.ones(len(given), dtype=torch.float64, device=given.device))
    pairs = plan.pairs(sample, plan.judges)
    drawn, result = count(pairs.given, pairs.weights), []
    if drawn.sum() > 0:
        shifted = is_another_draw(counts, drawn)
    else:  # trusted rows without a given label: only T tells what the data's true labels look like
        shares = class_shares(counts, plan.views.transitions[0])
        shifted = is_another_draw(shares * counts.sum(), count(pairs.labels, pairs.weights))
    for known, transition in zip(plan.views.known, plan.views.transitions, strict=True):
        mine = plan.pairs(sample, plan.judges[known[plan.judges]])
        result.append(estimate_prior(counts, count(mine.labels, mine.weights), transition, shifted))
    return tuple(result)


def _transitions(sample: Sample, plan: Plan) -> tuple[Transition, ...]:
    guess = _guessed_rate(sample) if not bool((plan.pairs(sample, plan.judges).given >= 0).any()) else LARGEST_GUESS
    result = []
    for known in plan.views.known:
        pairs = plan.pairs(sample, plan.judges[known[plan.judges]])
        result.append(estimate_transition(pairs.labels, pairs.given, pairs.weights, sample.classes, guess))
    return tuple(result)


def _crowd(sample: Sample, plan: Plan, view: int, whole: Transition) -> Crowd:
    """Estimate how each annotator errs; one whom no trusted row tells of errs as often as their common label."""
    if sample.annotators is None:
        return Crowd((whole,))
    pairs = plan.pairs(sample, plan.judges[plan.views.known[view, plan.judges]])
    each = (estimate_transition(pairs.labels, a, pairs.weights, sample.classes, whole.rate) for a in pairs.said.T)
    return Crowd(tuple(each))


def _guessed_rate(sample: Sample) -> float:
    """Guess the noise where no trusted row tells it: how often a given label is not what the neighbours say."""
    labels = torch.where(sample.teaches, sample.given, -1)
    wrong = counted = 0
    for rows in torch.split(torch.where(labels >= 0)[0], 1024):
        votes = count_labels(sample.neighbours[rows], labels, sample.classes, torch.float32)
        wrong += int((votes.argmax(1) != labels[rows]).sum())
        counted += len(rows)
    return min(wrong / max(counted, 1), LARGEST_GUESS)
