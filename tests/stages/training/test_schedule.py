"""The order of rows and the learning rate."""

import pytest
import torch

from stages.training.schedule import Plan, mixed_seed

PLAN = Plan(rows=10, batch_size=4, epochs=5, seed=0, warmup=0.2)


def test_an_epoch_takes_every_row_once_and_each_epoch_in_another_order() -> None:
    order = PLAN.epoch_order(0)
    taken = torch.cat([PLAN.batch_rows(order, step) for step in range(PLAN.steps_per_epoch)])
    assert sorted(taken.tolist()) == list(range(10))
    assert not torch.equal(order, PLAN.epoch_order(1))
    assert torch.equal(order, PLAN.epoch_order(0))


@pytest.mark.parametrize(
    ("rows", "keep_rest", "batches"), [(10, True, [4, 4, 2]), (10, False, [4, 4]), (3, False, [3])]
)
def test_the_rest_of_an_epoch_is_kept_or_left_and_few_rows_are_one_batch(
    rows: int, keep_rest: bool, batches: list[int]
) -> None:
    plan = Plan(rows, 4, 2, 0, keep_rest=keep_rest)
    order = plan.epoch_order(1)
    sizes = [len(plan.batch_rows(order, plan.steps_per_epoch + i)) for i in range(plan.steps_per_epoch)]
    assert sizes == batches
    assert plan.steps == 2 * len(batches)


def test_the_rate_rises_in_a_line_to_one_and_falls_in_half_a_cosine_to_zero() -> None:
    rates = [PLAN.rate(step) for step in range(PLAN.steps + 1)]
    assert rates[:4] == pytest.approx([1 / 3, 2 / 3, 1, 1])
    assert rates[3 + 6] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(0.0)
    assert rates[3:] == sorted(rates[3:], reverse=True)


def test_streams_of_random_numbers_do_not_meet() -> None:
    seeds = {mixed_seed(s, p, n) for s in range(20) for p in range(2) for n in range(50)}
    assert len(seeds) == 20 * 2 * 50
    assert all(0 <= s < 2**63 for s in seeds)
    assert 0 <= mixed_seed(2**63 - 1, 1, 10**9) < 2**63


def test_the_choices_inside_a_step_follow_from_seed_and_step() -> None:
    cpu = torch.device("cpu")
    drawn = [torch.rand(3, generator=PLAN.step_generator(step, cpu)) for step in (7, 7, 8)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("keep_rest", [True, False])
def test_the_rows_of_later_steps_are_known_before(keep_rest: bool) -> None:
    plan = Plan(10, 4, 3, seed=0, keep_rest=keep_rest)
    asked = [plan.batch_rows(plan.epoch_order(s // plan.steps_per_epoch), s).tolist() for s in range(plan.steps)]
    for step in (-1, 0, plan.steps_per_epoch - 1, plan.steps - 1):
        assert [rows.tolist() for rows in plan.rows_after(step)] == asked[step + 1 :]
