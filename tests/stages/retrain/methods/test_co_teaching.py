"""What two networks of co-teaching tell each other."""

from typing import Any

import torch
from torch.nn import functional

from stages.retrain.methods.co_teaching import CoTeaching, easiest
from stages.retrain.options import CoTeachingOptions


def test_each_network_learns_what_the_other_finds_easiest(setting: Any, make_batch: Any) -> None:
    batch = make_batch(done=1.0)
    learner = CoTeaching(setting, CoTeachingOptions(noise_rate=0.5))
    labels = batch.targets.argmax(1)
    losses = [functional.cross_entropy(n(batch.views[0]), labels, reduction="none") for n in learner.networks]
    picked = [loss.sort().indices[:3] for loss in losses]
    assert set(picked[0].tolist()) != set(picked[1].tolist())
    torch.testing.assert_close(learner(batch), losses[0][picked[1]].mean() + losses[1][picked[0]].mean())


def test_ever_more_rows_are_set_aside_up_to_the_noise_rate(setting: Any, make_batch: Any) -> None:
    learner = CoTeaching(setting, CoTeachingOptions(ramp=0.2))
    assert learner.rate == 0.4  # as the label table tells
    everything = make_batch(done=0.0)
    labels = everything.targets.argmax(1)
    both = sum(functional.cross_entropy(net(everything.views[0]), labels) for net in learner.networks)
    torch.testing.assert_close(learner(everything), both)


def test_one_row_at_least_is_kept() -> None:
    assert easiest(torch.tensor([3.0]), 0.1).tolist() == [0]
    assert sorted(easiest(torch.tensor([3.0, 1.0, 2.0, 9.0]), 0.5).tolist()) == [1, 2]


def test_the_networks_begin_differently_and_their_mean_is_shipped(setting: Any, make_batch: Any) -> None:
    learner = CoTeaching(setting, CoTeachingOptions())
    first, second = (net(make_batch().views[0]) for net in learner.networks)
    assert not torch.allclose(first, second)
    torch.testing.assert_close(learner.result(make_batch().views[0]), (first + second) / 2)
