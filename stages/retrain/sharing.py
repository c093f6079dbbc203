"""What processes that share a training tell each other beside gradients: memories of rows, and looks at all of them."""

from collections.abc import Iterable

import torch
from torch import Tensor, distributed

from pipeline.errors import ConfigError
from stages.retrain.learner import Learner
from stages.training.schedule import Plan


def refuse_small_parts(plan: Plan) -> None:
    """Refuse more processes than a batch can feed."""
    if plan.shares > 1 and plan.batch < 2 * plan.shares:
        raise ConfigError(
            f"a step has {min(plan.batch_size, plan.rows)} rows for {plan.shares} processes; each needs 2.",
            "Start fewer processes, or raise retrain.batch_size.",
        )


def hear_main(learners: Iterable[Learner]) -> None:
    """Take what the main process learned from looking at all rows."""
    for learner in learners:
        for name in learner.surveyed:
            distributed.broadcast(learner.get_buffer(name), 0)


def tell_rows(learners: Iterable[Learner], rows: Tensor) -> None:
    """Tell all processes what this one remembers of its rows of a step, and hear theirs."""
    everybody = gathered(rows)
    for learner in learners:
        for name in learner.remembered:
            memory = learner.get_buffer(name)  # [..., rows, K]
            told = gathered(memory.index_select(-2, rows).contiguous())
            for theirs, values in zip(everybody, told, strict=True):
                memory.index_copy_(-2, theirs, values)


def gathered(tensor: Tensor) -> list[Tensor]:
    """Bring a tensor of every process, all of one shape."""
    found = [torch.empty_like(tensor) for _ in range(distributed.get_world_size())]
    distributed.all_gather(found, tensor)
    return found
