"""Random numbers for images: one for each, the same for an image however many processes share its batch."""

import torch
from torch import Tensor


class SharedGenerator(torch.Generator):
    """A generator that processes with equal seeds share: each draws for the whole batch and keeps its part."""

    def __new__(cls, device: torch.device, *_: int) -> "SharedGenerator":
        """Make a generator on a device."""
        return super().__new__(cls, device)  # type: ignore[call-arg]  # object's in the stubs

    def __init__(self, _device: torch.device, rows: int, share: int, shares: int) -> None:
        super().__init__()
        self.rows, self.share, self.shares = rows, share, shares  # rows of this share


def uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """Draw [count] numbers between two bounds; `count` is a multiple of the rows, as each has several views."""
    if isinstance(generator, SharedGenerator):
        whole = torch.rand(count * generator.shares, generator=generator, device=generator.device)
        drawn = whole.view(-1, generator.shares, generator.rows)[:, generator.share].reshape(-1)
    else:
        drawn = torch.rand(count, generator=generator, device=generator.device)
    return drawn * (high - low) + low
