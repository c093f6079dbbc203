"""The loop: batches in, weights out; it checkpoints by time, goes on from the newest checkpoint, stops at NaN."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pipeline.errors import ResourceError, StoreError
from stages.shell import Context
from stages.training.optimisers import set_learning_rate
from stages.training.schedule import Plan
from stages.training.state import NUMBERS_FILE, TENSORS_FILE, TrainingState

GPU_LOOKS = 10  # steps between two looks at the loss, as a look makes a GPU wait

LossOf = Callable[[Tensor, torch.Generator], Tensor]  # row numbers [n] on the CPU, generator on the device → loss
AfterEpoch = Callable[[int], Mapping[str, float]]  # epochs done → what to note in the curve
Curve = Sequence[Mapping[str, float]]  # one record for each epoch done


@dataclass
class Watch:
    """What a training does beside learning: between two epochs, and with the gradients of a step."""

    after_epoch: AfterEpoch = lambda _epoch: {}
    enough: Callable[[Curve], bool] = lambda _curve: False  # whether to end before the plan does
    checkpoint_epochs: int = 0  # a checkpoint after so many epochs, beside those by time; 0: by time only
    shown: dict[str, float | str] = field(default_factory=dict)  # for the progress alone, never for the result
    before_step: Callable[[], None] = lambda: None  # what is done with the gradients before the optimiser takes them


class Loop:
    """Train a network by a plan; `loss_of` says how wrong it is on some rows."""

    def __init__(self, context: Context, plan: Plan, learning_rate: float, device: torch.device) -> None:
        self._context = context
        self._ranks = context.ranks
        self._plan = plan
        self._learning_rate = learning_rate
        self._device = device
        self._look_every = GPU_LOOKS if device.type == "cuda" else 1
        self._loss = math.nan

    def run(self, state: TrainingState, loss_of: LossOf, watch: Watch | None = None) -> None:
        """Train to the end of the plan, from the newest checkpoint where there is one."""
        watch = watch or Watch()
        self._resume(state)
        state.network.train()
        plan = self._plan
        order = plan.epoch_order(state.step // plan.steps_per_epoch)
        losses: list[Tensor] = []
        while state.step < plan.steps and not (state.step % plan.steps_per_epoch == 0 and watch.enough(state.curve)):
            losses.append(self._step(state, order, loss_of, watch))
            epoch_ends = state.step % plan.steps_per_epoch == 0
            checkpoint = self._ranks.any(self._wanted(state, watch) or self._context.stop.requested)
            if epoch_ends or checkpoint or state.step % self._look_every == 0:
                self._look(state, losses, watch)
            if epoch_ends:
                epoch = self._end_epoch(state, watch)
                order = plan.epoch_order(epoch)
            if checkpoint:
                self._checkpoint(state)

    def _resume(self, state: TrainingState) -> None:
        """Go on from the newest checkpoint; with batches of another size, from the end of the last whole epoch."""
        found = self._context.checkpoints.latest()
        step, newest = found[0] if found else 0, self._ranks.tell(found[0] if found else 0)
        if step != newest:
            raise StoreError(
                f"process {self._ranks.rank} finds the checkpoint of step {step}, process 0 that of step {newest}.",
                "Name a store that all machines share.",
            )
        if found is not None:
            state.load(found[1].path(TENSORS_FILE), found[1].path(NUMBERS_FILE))
        if state.batch not in (0, self._plan.batch):
            state.step, state.loss_sum = len(state.curve) * self._plan.steps_per_epoch, 0.0
        state.batch = self._plan.batch

    def _step(self, state: TrainingState, order: Tensor, loss_of: LossOf, watch: Watch) -> Tensor:
        set_learning_rate(state.optimiser, self._learning_rate * self._plan.rate(state.step))
        rows = self._plan.batch_rows(order, state.step)
        loss = loss_of(rows, self._plan.step_generator(state.step, self._device))
        state.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        watch.before_step()
        state.optimiser.step()
        state.step += 1
        return loss.detach()

    def _wanted(self, state: TrainingState, watch: Watch) -> bool:
        steps = watch.checkpoint_epochs * self._plan.steps_per_epoch
        return (self._ranks.main and self._context.checkpoints.due()) or (steps > 0 and state.step % steps == 0)

    def _look(self, state: TrainingState, losses: list[Tensor], watch: Watch) -> None:
        """Bring the losses since the last look, stop where one is not finite, and say how far the training is."""
        values = self._ranks.mean([float(loss) for loss in losses])
        losses.clear()
        if not all(math.isfinite(value) for value in values):
            raise self._not_finite(f"the loss is {values[-1]} after step {state.step}")
        state.loss_sum += sum(values)
        self._loss = values[-1]
        metrics = {"loss": self._loss, "epoch": float(len(state.curve) + 1), **watch.shown}
        batch = self._plan.batch
        self._context.progress.report("train", state.step * batch, self._plan.steps * batch, "samples", metrics)

    def _not_finite(self, what: str) -> ResourceError:
        found = self._context.checkpoints.latest()
        kept = f"the checkpoint of step {found[0]} is kept" if found else "there was no checkpoint yet"
        return ResourceError(
            f"{what} of {self._plan.steps} (learning rate {self._learning_rate:g}); {kept}.",
            "Lower learning_rate, or set precision to full: that trains anew, as it is another training. "
            "The same configuration would go on from the kept checkpoint, most likely to the same end.",
        )

    def _check_weights(self, state: TrainingState) -> None:
        """Refuse weights that are no numbers: they must neither be kept nor measured nor shipped."""
        name = state.not_finite()
        if name:
            raise self._not_finite(f"'{name}' holds NaN or infinity after step {state.step}")

    def _end_epoch(self, state: TrainingState, watch: Watch) -> int:
        self._check_weights(state)
        epoch = state.step // self._plan.steps_per_epoch
        state.network.eval()
        noted = self._ranks.tell(dict(watch.after_epoch(epoch)) if self._ranks.main else {})
        state.network.train()
        state.curve.append({"epoch": epoch, "loss": state.loss_sum / self._plan.steps_per_epoch, **noted})
        state.loss_sum = 0.0
        return epoch

    def _checkpoint(self, state: TrainingState) -> None:
        self._check_weights(state)
        if self._ranks.main:
            self._context.checkpoints.save(state.step, state.save)
        if self._ranks.any(self._context.stop.requested):  # also waits until it is saved
            raise self._context.stop.interrupted()
