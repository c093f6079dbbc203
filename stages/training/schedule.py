"""The order of the rows and the learning rate: functions of the seed and the step, so that a run can go on anywhere."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.images.draws import SharedGenerator


@dataclass(frozen=True)
class Plan:
    """How many rows, in what batches, how often, from which seed."""

    rows: int
    batch_size: int
    epochs: int
    seed: int
    warmup: float = 0.0  # share of the steps in which the learning rate rises
    keep_rest: bool = True  # whether an epoch ends with a smaller batch; not where processes share the batches
    share: int = 0  # which of `shares` equal parts of every batch this process takes
    shares: int = 1

    @property
    def batch(self) -> int:
        """Return the rows of a full batch of all processes: all rows where there are fewer."""
        return min(self.batch_size, self.rows) // self.shares * self.shares

    @property
    def steps_per_epoch(self) -> int:
        """Count the batches of an epoch."""
        return math.ceil(self.rows / self.batch) if self.keep_rest else self.rows // self.batch

    @property
    def steps(self) -> int:
        """Count the batches of the whole training."""
        return self.epochs * self.steps_per_epoch

    def epoch_order(self, epoch: int) -> Tensor:
        """Shuffle the rows, [rows], anew in each epoch."""
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, 0, epoch))
        return torch.randperm(self.rows, generator=generator)

    def batch_rows(self, order: Tensor, step: int) -> Tensor:
        """Take this process's rows of one step from its epoch's order."""
        part = self.batch // self.shares
        start = step % self.steps_per_epoch * self.batch + self.share * part
        return order[start : start + part]

    def rows_after(self, step: int) -> Iterator[Tensor]:
        """List this process's rows of all steps after one."""
        order, ordered = torch.empty(0), -1
        for later in range(step + 1, self.steps):
            epoch = later // self.steps_per_epoch
            if epoch != ordered:
                order, ordered = self.epoch_order(epoch), epoch
            yield self.batch_rows(order, later)

    def step_generator(self, step: int, device: torch.device) -> torch.Generator:
        """Make the generator of all random choices inside one step."""
        generator = torch.Generator(device)
        if self.shares > 1:
            generator = SharedGenerator(device, self.batch // self.shares, self.share, self.shares)
        return generator.manual_seed(mixed_seed(self.seed, 1, step))

    def rate(self, step: int) -> float:
        """Scale the learning rate: a line up to 1 during the warm-up, then half a cosine down to 0."""
        rise = round(self.warmup * self.steps)
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1.0 + math.cos(math.pi * (step - rise) / max(1, self.steps - rise)))


def mixed_seed(seed: int, purpose: int, number: int) -> int:
    """Mix a seed, a purpose and a running number to one 63-bit seed (splitmix64), so that streams do not overlap."""
    value = seed * 0x9E3779B97F4A7C15 + purpose * 0xD1B54A32D192ED03 + number * 0x8CB92BA72F3D8DD7
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        value = ((value ^ value >> shift) * factor) & 0xFFFFFFFFFFFFFFFF
    return (value ^ value >> 31) >> 1
