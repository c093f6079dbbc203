"""Which stiffness of the stack: that whose fit to four rows of five makes the given labels of the fifth likeliest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.purify.stack import FREE_CLASSES, Prior, Search, Stack, fit_stack

HELD = 5  # every so many rows are held out while the penalty is chosen
CHOOSING_STEPS, AGAIN_STEPS = 25, 10
CLOSE = 0.5  # nats: penalties that do as well as the best, of which the stiffest is taken


@dataclass(frozen=True)
class Choice:
    """The penalty whose stack, fitted to four rows of five, makes the given labels of the fifth likeliest."""

    ridge: float
    stacks: Mapping[float, Stack]  # of every penalty: where the next choice starts


def choose_ridge(
    labelled: tuple[Tensor, Tensor], prior: Prior, ridges: Sequence[float], earlier: Choice | None = None
) -> Choice:
    """Choose among penalties; of those that do as well the stiffest. `labelled`: blocks [M, n, K], given labels [n].

    Of many classes there is nothing to choose: all weights are multiples of I, which no penalty holds.
    """
    blocks, given = labelled
    if len(ridges) == 1 or blocks.shape[1] < HELD or blocks.shape[2] > FREE_CLASSES:
        return Choice(max(ridges), {})
    held = torch.arange(blocks.shape[1], device=given.device) % HELD == 0
    stacks = {}
    for ridge in ridges:
        start = earlier.stacks.get(ridge) if earlier else None
        search = Search(ridge, CHOOSING_STEPS if start is None else AGAIN_STEPS, start)
        stacks[ridge] = fit_stack(blocks[:, ~held], given[~held], prior, search)
    found = {ridge: _likelihood(stack, blocks[:, held], given[held]) for ridge, stack in stacks.items()}
    return Choice(max(r for r, likelihood in found.items() if likelihood >= max(found.values()) - CLOSE), stacks)


def _likelihood(stack: Stack, blocks: Tensor, given: Tensor) -> float:
    return float(torch.logsumexp(stack.log_beliefs(blocks) + stack.log_matrix.T[given], dim=1).double().sum())
