"""What processes that share a training see of it: their part of every batch, the same draws, the same checkpoint."""

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.errors import InterruptedRunError, StoreError
from stages.images.augment import augment
from stages.images.augmentation import Augmentation
from stages.shell import Context
from stages.shell.ranks import Ranks
from stages.training.loop import Loop
from stages.training.optimisers import build_optimiser
from stages.training.schedule import Plan
from stages.training.state import TrainingState

CPU = torch.device("cpu")
WHOLE = Plan(rows=30, batch_size=12, epochs=4, seed=3, keep_rest=False)
HOW = Augmentation(crop_scale=0.5, flip=True, rotation=20, shift=0.1, colour=0.5, grey=0.3, blur=0.5)
MakeContext = Callable[..., Context]


def parts(shares: int, whole: Plan = WHOLE) -> list[Plan]:
    return [replace(whole, share=share, shares=shares) for share in range(shares)]


@pytest.mark.parametrize("shares", [2, 3])
def test_the_parts_of_a_batch_make_up_the_batch(shares: int) -> None:
    order = WHOLE.epoch_order(1)
    for step in (2, 3):
        rows = torch.cat([plan.batch_rows(order, step) for plan in parts(shares)])
        assert torch.equal(rows, WHOLE.batch_rows(order, step))


def test_a_batch_is_rounded_down_to_equal_parts() -> None:
    assert [plan.batch for plan in parts(5)] == [10] * 5
    assert [plan.steps_per_epoch for plan in parts(5)] == [3] * 5
    assert {len(plan.batch_rows(torch.arange(30), 2)) for plan in parts(5)} == {2}


@pytest.mark.parametrize("views", [1, 2])
def test_a_view_of_an_image_is_the_same_however_many_share_its_batch(views: int) -> None:
    pictures = torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = augment(pictures.repeat(views, 1, 1, 1), HOW, WHOLE.step_generator(7, CPU)).view(views, 12, 3, 8, 8)
    for plan in parts(3):
        rows = plan.batch_rows(torch.arange(12), 0)
        made = augment(pictures[rows].repeat(views, 1, 1, 1), HOW, plan.step_generator(7, CPU))
        assert torch.allclose(made.view(views, 4, 3, 8, 8), expected[:, rows], atol=1e-6)


def train(context: Context, plan: Plan, stop_at: int = -1) -> TrainingState:
    torch.manual_seed(0)
    network = nn.Linear(1, 1)
    state = TrainingState(network, build_optimiser(network, "adamw", 0.05, 0.01))

    def loss_of(rows: torch.Tensor, _: torch.Generator) -> torch.Tensor:
        if state.step == stop_at:
            context.stop.request(signal.SIGTERM)
        loss: torch.Tensor = (network(rows.view(-1, 1) / 30) - 1).square().mean()
        return loss

    Loop(context, plan, 0.05, CPU).run(state, loss_of)
    return state


def test_with_batches_of_another_size_it_goes_on_from_the_end_of_the_last_epoch(
    make_context: MakeContext, tmp_path: Path
) -> None:
    with pytest.raises(InterruptedRunError):
        train(make_context(), WHOLE, stop_at=4)  # one step into the third epoch of two steps each
    resumed = train(make_context(), replace(WHOLE, batch_size=10))
    assert [entry["epoch"] for entry in resumed.curve] == [1, 2, 3, 4]
    assert resumed.step == 4 * 3


def test_a_process_that_sees_another_checkpoint_says_so(make_context: MakeContext) -> None:
    class Second(Ranks):
        def tell(self, _: object) -> int:
            return 7

    context = make_context()
    context.ranks = Second(rank=1, world=2)
    with pytest.raises(StoreError, match="process 1 finds the checkpoint of step 0, process 0 that of step 7"):
        train(context, WHOLE)
