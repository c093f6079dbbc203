"""The loop: batches in, weights out; it checkpoints by time, goes on from the newest checkpoint, stops at NaN."""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from pipeline.errors import ResourceError
from stages.shell import Context
from stages.training.optimisers import set_learning_rate
from stages.training.schedule import Plan
from stages.training.state import NUMBERS_FILE, TENSORS_FILE, TrainingState

GPU_LOOKS = 10  # steps between two looks at the loss, as a look makes a GPU wait

LossOf = Callable[[Tensor, torch.Generator], Tensor]  # row numbers [n] on the CPU, generator on the device → loss
AfterEpoch = Callable[[int], Mapping[str, float]]  # epochs done → what to note in the curve


class Loop:
    """Train a network by a plan; `loss_of` says how wrong it is on some rows."""

    def __init__(self, context: Context, plan: Plan, learning_rate: float, device: torch.device) -> None:
        self._context = context
        self._plan = plan
        self._learning_rate = learning_rate
        self._device = device
        self._look_every = GPU_LOOKS if device.type == "cuda" else 1
        self._loss = math.nan

    def run(self, state: TrainingState, loss_of: LossOf, after_epoch: AfterEpoch = lambda _epoch: {}) -> None:
        """Train to the end of the plan, from the newest checkpoint where there is one."""
        found = self._context.checkpoints.latest()
        if found is not None:
            state.load(found[1].path(TENSORS_FILE), found[1].path(NUMBERS_FILE))
        state.network.train()
        plan = self._plan
        order = plan.epoch_order(state.step // plan.steps_per_epoch)
        losses: list[Tensor] = []
        while state.step < plan.steps:
            losses.append(self._step(state, order, loss_of))
            epoch_ends = state.step % plan.steps_per_epoch == 0
            checkpoint = self._context.checkpoints.due() or self._context.stop.requested
            if epoch_ends or checkpoint or state.step % self._look_every == 0:
                self._look(state, losses)
            if epoch_ends:
                epoch = self._end_epoch(state, after_epoch)
                order = plan.epoch_order(epoch)
            if checkpoint:
                self._checkpoint(state)

    def _step(self, state: TrainingState, order: Tensor, loss_of: LossOf) -> Tensor:
        set_learning_rate(state.optimiser, self._learning_rate * self._plan.rate(state.step))
        rows = self._plan.batch_rows(order, state.step)
        loss = loss_of(rows, self._plan.step_generator(state.step, self._device))
        state.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        state.optimiser.step()
        state.step += 1
        return loss.detach()

    def _look(self, state: TrainingState, losses: list[Tensor]) -> None:
        """Bring the losses since the last look, stop where one is not finite, and say how far the training is."""
        values = [float(loss) for loss in losses]
        losses.clear()
        if not all(math.isfinite(value) for value in values):
            raise ResourceError(
                f"the loss is {values[-1]} after step {state.step} of {self._plan.steps} (learning rate "
                f"{self._learning_rate:g}); the last checkpoint before it is kept.",
                "Lower learning_rate, or set precision to full.",
            )
        state.loss_sum += sum(values)
        self._loss = values[-1]
        metrics = {"loss": self._loss, "epoch": float(len(state.curve) + 1)}
        batch = self._plan.batch
        self._context.progress.report("train", state.step * batch, self._plan.steps * batch, "samples", metrics)

    def _end_epoch(self, state: TrainingState, after_epoch: AfterEpoch) -> int:
        epoch = state.step // self._plan.steps_per_epoch
        state.network.eval()
        noted = after_epoch(epoch)
        state.network.train()
        state.curve.append({"epoch": epoch, "loss": state.loss_sum / self._plan.steps_per_epoch, **noted})
        state.loss_sum = 0.0
        return epoch

    def _checkpoint(self, state: TrainingState) -> None:
        self._context.checkpoints.save(state.step, state.save)
        if self._context.stop.requested:
            raise self._context.stop.interrupted()
