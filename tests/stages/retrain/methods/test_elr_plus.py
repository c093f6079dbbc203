"""What ELR+ adds to ELR."""

from typing import Any

import torch

from stages.retrain.losses import cross_entropies, pull
from stages.retrain.methods.elr_plus import ElrPlus
from stages.retrain.mixing import mixup
from stages.retrain.options import ElrPlusOptions


def test_each_network_is_told_what_the_others_copy_says_and_both_are_mixed_alike(setting: Any, make_batch: Any) -> None:
    learner, batch = ElrPlus(setting, ElrPlusOptions()), make_batch()
    inputs, mixing = batch.views[0], mixup(6, 1.0, batch.generator())
    said = [torch.softmax(network(inputs), dim=1) for network in learner.networks]  # the copies begin as these are
    slow = torch.zeros(())
    for own, other in ((0, 1), (1, 0)):
        scores = learner.networks[own](mixing.inputs(inputs))
        memory = mixing.values(0.3 * said[other].detach())
        each = cross_entropies(scores, mixing.values(batch.targets)) + 3.0 * pull(torch.softmax(scores, 1), memory)
        slow = slow + each.mean()
    torch.testing.assert_close(learner(batch), slow)
    torch.testing.assert_close(learner.memory[0, batch.rows], 0.3 * said[1].detach())
    torch.testing.assert_close(learner.memory[1, batch.rows], 0.3 * said[0].detach())


def test_the_mean_of_the_copies_is_shipped(setting: Any, make_batch: Any) -> None:
    learner, batch = ElrPlus(setting, ElrPlusOptions()), make_batch()
    before = torch.stack([network(batch.views[0]) for network in learner.networks]).mean(0)
    with torch.no_grad():
        learner.networks[0].get_parameter("bias").add_(1.0)
    torch.testing.assert_close(learner.result(batch.views[0]), before)
