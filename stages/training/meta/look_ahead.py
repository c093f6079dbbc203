"""The gradient through one step of learning: what labels z do to trusted rows (Ren et al., ICML 2018, and its kin).

M(z) = J(θ̂) with θ̂ = θ − α ∇_θ L(f_θ, z). As z acts on θ̂ through L alone, ∂M/∂z = −α ∂/∂z ⟨∂L/∂f, (∂f/∂θ) v⟩ with
v = ∇J(θ̂): exact, and no second derivative of the network is formed. It takes a backward pass, the judges' gradient
and a forward derivative; all that is left is about the scores.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp

Params = Mapping[str, Tensor]
Model = Callable[[Params, Tensor], Tensor]  # θ, inputs [n, ...] → scores [..., n, K]


@dataclass(frozen=True)
class LookAhead:
    """One plain SGD step on a batch, and how trusted rows fare after it.

    `score` and `judge` must give the same for the same θ (no dropout). Leading dimensions of θ, scores and z may be
    fits that share inputs: sum their losses, and each has a gradient of its own.
    """

    score: Callable[[Params], Tensor]  # θ → scores f of the batch [..., n, K]
    learn: Callable[[Tensor, Tensor], Tensor]  # f, z → loss L of the batch
    judge: Callable[[Params], Tensor]  # θ → loss J of the trusted rows
    rate: float  # α

    def step(self, params: Params, labels: Tensor) -> dict[str, Tensor]:
        """Return θ̂ for labels z."""
        with torch.no_grad():  # of no matter to grad inside; outside, nothing follows the result
            gradient = grad(lambda p: self.learn(self.score(p), labels))(dict(params))
            return {name: value - self.rate * gradient[name] for name, value in params.items()}

    def gradient(self, params: Params, labels: Tensor) -> Tensor:
        """Return ∂J(θ̂)/∂z, in the shape of z."""
        with torch.no_grad():
            direction = grad(self.judge)(self.step(params, labels))
            scores, change = _derivative_along(self.score, params, direction)
            felt: Tensor = grad(lambda z: (grad(self.learn)(scores, z) * change).sum())(labels)
            return felt.mul_(-self.rate)


def _derivative_along(score: Callable[[Params], Tensor], params: Params, direction: Params) -> tuple[Tensor, Tensor]:
    with warnings.catch_warnings():  # torch's own formulas of forward derivatives, when they are first loaded
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
        scores, change = jvp(score, (dict(params),), (dict(direction),))[:2]
    return scores, change


def as_function(network: nn.Module) -> tuple[Model, dict[str, Tensor]]:
    """Return a network as a function of its trainable parameters, and these parameters, sharing its memory.

    Each call works on a clone of the buffers, so that no batch norm learns from looking ahead.
    """
    params = {name: value.detach() for name, value in network.named_parameters() if value.requires_grad}

    def score(values: Params, inputs: Tensor) -> Tensor:
        buffers = {name: value.clone() for name, value in network.named_buffers()}
        scores: Tensor = functional_call(network, {**values, **buffers}, (inputs,))
        return scores

    return score, params
