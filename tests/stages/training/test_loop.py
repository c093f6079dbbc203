"""The loop: it ends where an unbroken one ends, however often it was stopped."""

import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pipeline.errors import ContractError, InterruptedRunError, ResourceError
from pipeline.progress import read_progress
from stages.shell import Context
from stages.training.loop import Loop, Watch
from stages.training.optimisers import OptimiserName, build_optimiser
from stages.training.schedule import Plan
from stages.training.state import TrainingState

CPU = torch.device("cpu")
PLAN = Plan(rows=64, batch_size=16, epochs=6, seed=3, warmup=0.1)
X = torch.linspace(-1, 1, 64).view(-1, 1)
MakeContext = Callable[..., Context]


def make_state(optimiser: OptimiserName = "adamw") -> TrainingState:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(1, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1))
    return TrainingState(network, build_optimiser(network, optimiser, 0.05, 0.01))


class Fit:
    """Squared error on noisy points; asks for the end after some steps, or returns NaN there."""

    def __init__(self, state: TrainingState, context: Context, stop_at: int = -1, nan_at: int = -1) -> None:
        self.state, self.context, self.stop_at, self.nan_at = state, context, stop_at, nan_at

    def __call__(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        if self.state.step == self.stop_at:
            self.context.stop.request(signal.SIGTERM)
        noise = 0.1 * torch.randn(len(rows), 1, generator=generator)
        loss = (self.state.network(X[rows]) - 2 - torch.sin(3 * X[rows]) - noise).square().mean()
        return loss * torch.nan if self.state.step == self.nan_at else loss


def train(make_context: MakeContext, state: TrainingState, stop_at: int = -1, nan_at: int = -1) -> TrainingState:
    context = make_context()
    Loop(context, PLAN, 0.05, CPU).run(state, Fit(state, context, stop_at, nan_at))
    return state


def weights(state: TrainingState) -> list[Tensor]:
    return list(state.network.state_dict().values())


def test_training_learns_and_notes_every_epoch(make_context: MakeContext, tmp_path: Path) -> None:
    state = train(make_context, make_state())
    assert [entry["epoch"] for entry in state.curve] == [1, 2, 3, 4, 5, 6]
    assert state.curve[-1]["loss"] < 0.5 * state.curve[0]["loss"]
    last = read_progress(tmp_path / "work")[0][-1]
    assert (last.step, last.total, last.unit) == (PLAN.steps * 16, PLAN.steps * 16, "samples")
    assert last.metrics["loss"] > 0


@pytest.mark.parametrize("optimiser", ["sgd", "adamw", "lars"])
def test_a_run_that_was_stopped_twice_ends_like_an_unbroken_one(
    make_context: MakeContext, optimiser: OptimiserName
) -> None:
    whole = make_state(optimiser)
    context = make_context()
    Loop(context, PLAN, 0.05, CPU).run(whole, Fit(whole, context))
    for stop_at in (3, 9):  # at the end of an epoch, and inside one
        with pytest.raises(InterruptedRunError, match="a checkpoint is written"):
            train(make_context, make_state(optimiser), stop_at=stop_at)
    resumed = train(make_context, make_state(optimiser))
    assert resumed.curve == whole.curve
    assert all(torch.equal(a, b) for a, b in zip(weights(resumed), weights(whole), strict=True))


def test_a_loss_that_is_not_a_number_stops_and_the_last_good_checkpoint_stays(make_context: MakeContext) -> None:
    with pytest.raises(InterruptedRunError):
        train(make_context, make_state(), stop_at=4)
    with pytest.raises(ResourceError, match=r"nan after step 8 of 24 .* of step 5 is kept\. Lower learning_rate"):
        train(make_context, make_state(), nan_at=7)
    found = make_context().checkpoints.latest()
    assert found is not None
    assert found[0] == 5


class Overflow(Fit):
    """A finite loss whose gradient is not: the weights break one step before the loss shows it."""

    def __call__(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        loss = super().__call__(rows, generator)
        if self.state.step == 6:
            first = next(self.state.network.parameters())
            first.register_hook(lambda gradient: gradient * torch.inf)
        return loss


@pytest.mark.parametrize("asked_at", [-1, 6])
def test_weights_that_are_no_numbers_are_never_kept(make_context: MakeContext, asked_at: int) -> None:
    with pytest.raises(InterruptedRunError):
        train(make_context, make_state(), stop_at=4)
    state, context = make_state(), make_context(checkpoint_seconds=1e-9 if asked_at < 0 else 300)
    with pytest.raises(ResourceError, match=r"holds NaN or infinity after step 7 of 24 .* is kept"):
        Loop(context, PLAN, 0.05, CPU).run(state, Overflow(state, context, asked_at))
    found = make_context().checkpoints.latest()
    assert found is not None
    assert found[0] == (6 if asked_at < 0 else 5)
    good = make_state()
    good.load(found[1].path("state.safetensors"), found[1].path("state.json"))
    assert good.not_finite() == ""


def test_a_loss_that_breaks_before_any_checkpoint_says_so(make_context: MakeContext) -> None:
    with pytest.raises(ResourceError, match=r"loss is nan after step 2 of 24 .*there was no checkpoint yet"):
        train(make_context, make_state(), nan_at=1)


def test_checkpoints_come_by_epoch_too(make_context: MakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    state, context, steps = make_state(), make_context(), []
    save = context.checkpoints.save
    monkeypatch.setattr(context.checkpoints, "save", lambda step, write: (steps.append(step), save(step, write)))
    Loop(context, PLAN, 0.05, CPU).run(state, Fit(state, context), Watch(checkpoint_epochs=2))
    assert steps == [8, 16, 24]
    assert len(context.store.children("checkpoints/k")) == 2


@pytest.mark.parametrize("stop_at", [-1, 10, 11, 13])
def test_a_training_that_saw_enough_ends_early_and_stays_ended(make_context: MakeContext, stop_at: int) -> None:
    watch = Watch(enough=lambda curve: len(curve) == 3)
    if stop_at >= 0:
        state, context = make_state(), make_context()
        with suppress(InterruptedRunError):
            Loop(context, PLAN, 0.05, CPU).run(state, Fit(state, context, stop_at), watch)
    state, context = make_state(), make_context()
    Loop(context, PLAN, 0.05, CPU).run(state, Fit(state, context), watch)
    assert (state.step, len(state.curve)) == (12, 3)


def test_what_is_only_shown_stands_in_the_progress_and_nowhere_else(make_context: MakeContext, tmp_path: Path) -> None:
    state, context, watch = make_state(), make_context(), Watch(shown={"probe": 0.5})
    Loop(context, PLAN, 0.05, CPU).run(state, Fit(state, context), watch)
    assert read_progress(tmp_path / "work")[0][-1].metrics["probe"] == 0.5
    assert "probe" not in state.curve[-1]


def test_checkpoints_come_by_time(make_context: MakeContext) -> None:
    context = make_context(checkpoint_seconds=1e-9)
    state = make_state()
    Loop(context, PLAN, 0.05, CPU).run(state, Fit(state, context))
    found = context.checkpoints.latest()
    assert found is not None
    assert found[0] == PLAN.steps


def test_a_checkpoint_of_another_network_is_refused(make_context: MakeContext) -> None:
    with pytest.raises(InterruptedRunError):
        train(make_context, make_state(), stop_at=2)
    network = nn.Sequential(nn.Linear(1, 1))
    other = TrainingState(network, build_optimiser(network, "sgd", 0.1, 0.0))
    with pytest.raises(ContractError, match="does not fit its network"):
        train(make_context, other)


def test_what_an_epoch_measures_stands_in_the_curve_and_is_measured_in_eval_mode(make_context: MakeContext) -> None:
    state, context, modes = make_state(), make_context(), []

    def measure(epoch: int) -> dict[str, float]:
        modes.append(state.network.training)
        return {"validation": epoch / 10}

    Loop(context, PLAN, 0.05, CPU).run(state, Fit(state, context), Watch(measure))
    assert state.curve[2]["validation"] == 0.3
    assert modes == [False] * 6


def test_biases_and_norms_do_not_decay() -> None:
    groups = build_optimiser(make_state().network, "sgd", 0.1, 0.3).param_groups
    assert [(len(g["params"]), g["weight_decay"]) for g in groups] == [(2, 0.3), (4, 0.0)]
