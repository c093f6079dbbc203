"""A network's weights averaged over the steps: a teacher that changes slowly and is calmer than its student."""

import copy

import torch
from torch import Tensor, nn


class SlowCopy(nn.Module):
    """A moving average of a network, weights and batch-norm statistics alike; it always predicts, never trains."""

    steps: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        self.network.requires_grad_(requires_grad=False)
        self.register_buffer("steps", torch.zeros(()))
        self.train(mode=False)

    def train(self, mode: bool = True) -> "SlowCopy":
        """Stay in evaluation mode."""
        return super().train(mode=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Score inputs [n, K] in float32."""
        scores: Tensor = self.network(inputs).float()
        return scores

    @torch.no_grad()
    def follow(self, network: nn.Module, momentum: float) -> None:
        """Take a step towards a network: own ← m own + (1 − m) its; at first the plain mean of all so far."""
        self.steps += 1
        share = (1.0 / self.steps).clamp(min=1.0 - momentum)
        for own, other in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True):
            if own.is_floating_point():
                own.lerp_(other, share.to(own.dtype))
            else:
                own.copy_(other)
