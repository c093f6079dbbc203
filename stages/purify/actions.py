"""What to do with each row: the action of least expected cost, where a wrong label costs 1."""

from dataclasses import dataclass

import torch
from torch import Tensor

from stages.purify.config import PurifyConfig

KEEP, RELABEL, REVIEW, TRUSTED, NONE = range(5)  # positions in pipeline.labels.ACTIONS


@dataclass(frozen=True)
class Decided:
    """The last columns of the label table."""

    purified: Tensor  # [N] long
    action: Tensor  # [N] long


def decide(config: PurifyConfig, is_open: bool, given: Tensor, suggested: Tensor, probabilities: Tensor) -> Decided:
    """Choose for rows [n] by the probabilities [n, 2] that the given and that the suggested label is right.

    Keeping costs 1 − P(given), relabelling 1 − P(suggested) + `relabel_cost`, a review `review_cost`. A closed gate
    bars relabelling. A row to review is purified to the cheaper of the other two; one without a given label can only
    be relabelled or reviewed.
    """
    has = given >= 0
    cost_keep = torch.where(has, 1 - probabilities[:, 0], torch.inf)
    cost_change = 1 - probabilities[:, 1] + config.relabel_cost * has
    barred = has & ((suggested == given) | (not is_open))
    cost_change = torch.where(barred, torch.inf, cost_change)
    change = cost_change < cost_keep
    action = torch.where(change, RELABEL, KEEP)
    action = torch.where(torch.minimum(cost_keep, cost_change) > config.review_cost, REVIEW, action)
    return Decided(torch.where(change, suggested, given), action)
