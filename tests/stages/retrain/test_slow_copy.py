"""A network's weights averaged over the steps."""

import torch
from torch import nn

from stages.retrain.slow_copy import SlowCopy


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def test_at_first_it_is_the_mean_of_all_so_far_and_then_moves_by_its_momentum() -> None:
    student = network()
    slow, seen = SlowCopy(student), []
    for step in range(6):
        with torch.no_grad():
            student[0].weight.add_(torch.full((4, 3), float(step)))
        seen.append(student[0].weight.detach().clone())
        before = slow.network.get_parameter("0.weight").clone()
        slow.follow(student, 0.75)
        now = slow.network.get_parameter("0.weight")
        expected = torch.stack(seen).mean(0) if step < 4 else 0.75 * before + 0.25 * seen[-1]
        torch.testing.assert_close(now, expected)


def test_it_never_trains_and_takes_the_statistics_along() -> None:
    student = network()
    slow = nn.Sequential(SlowCopy(student))
    slow.train()
    rows = torch.randn(5, 3)
    student(rows)
    slow(rows)
    copy = slow[0]
    assert isinstance(copy, SlowCopy)
    assert (copy.network.get_buffer("1.running_mean") == 0).all()
    copy.follow(student, 0.9)
    torch.testing.assert_close(copy.network.get_buffer("1.running_mean"), student[1].running_mean)
    assert not any(p.requires_grad for p in slow.parameters())
