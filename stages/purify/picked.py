"""Whether trusted rows look picked because their label seemed wrong, though nobody said so."""

import math

import torch
from torch import Tensor

from stages.linear.votes import count_labels
from stages.purify.sample import Sample, few_rows
from stages.purify.views import Plan

CERTAIN = 4.0  # standard errors: rows that were drawn shall not be suspected once in ten thousand runs


def describe_pick(sample: Sample, plan: Plan) -> str:
    """Say that given labels of judges disagree with their neighbours far more often than others do ('' if not)."""
    judges, weights = plan.views.rows[plan.judges], plan.fair_weights[plan.judges]
    labelled = sample.given[judges] >= 0
    judges, weights = judges[labelled], weights[labelled]
    everyone = torch.where(sample.teaches & (sample.given >= 0))[0]
    if len(judges) == 0 or len(everyone) == 0:
        return ""
    everyone = everyone[few_rows(sample.draw[everyone], sample.classes)]
    usual = float(against_neighbours(sample, everyone).mean())
    here = float((weights * against_neighbours(sample, judges)).sum() / weights.sum())
    rows = float(weights.sum().square() / weights.square().sum())
    if here - usual < CERTAIN * math.sqrt(max(usual * (1 - usual), 0.25 / len(everyone)) / rows):
        return ""
    return (
        f"Given labels of trusted rows disagree with their neighbours in {here:.0%} of cases, those of all rows in "
        f"{usual:.0%}: these rows look picked, not drawn, so noise and gain will be overstated. Set their "
        "trusted_origin to 'selected', and check some randomly drawn rows."
    )


def against_neighbours(sample: Sample, rows: Tensor) -> Tensor:
    """Tell for rows [n] whether their given label is not what their neighbours' labels say: float64."""
    labels = torch.where(sample.teaches, sample.given, -1)
    votes = count_labels(sample.neighbours[rows], labels, sample.classes, torch.float32)
    return (votes.argmax(1) != sample.given[rows]).double()
