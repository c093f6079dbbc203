"""The mathematics of the symmetric cross-entropy."""

from typing import Any

import torch

from stages.retrain.methods.sce import Sce
from stages.retrain.options import SceOptions


def test_the_loss_is_the_slow_sum_of_both_directions(setting: Any, make_batch: Any) -> None:
    batch = make_batch()
    learner = Sce(setting, SceOptions(alpha=0.2, beta=0.7, log_zero=-4))
    said = learner.scores(batch.views[0]).softmax(1)
    labels = batch.targets.argmax(1)
    slow = torch.zeros(())
    for i in range(6):
        slow = slow - 0.2 * said[i, labels[i]].log() + 0.7 * 4 * (1 - said[i, labels[i]])
    torch.testing.assert_close(learner(batch), slow / 6)


def test_soft_targets_are_logged_as_they_are(setting: Any, make_batch: Any, soft: torch.Tensor) -> None:
    batch = make_batch(targets=soft)
    learner = Sce(setting, SceOptions(alpha=0, beta=1))
    said = learner.scores(batch.views[0]).softmax(1)
    torch.testing.assert_close(learner(batch), -(said * soft.log()).sum(1).mean())
