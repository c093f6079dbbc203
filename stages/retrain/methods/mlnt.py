"""MLNT: learn so that a step on made-up wrong labels would change little of what a slow copy, the teacher, says.

In every step M sets of labels Ŷ are made: a share ρ of the rows takes the label of one of its nearest rows in the
batch. θ'_m = θ − α ∇CE(f_θ, Ŷ_m), J = mean_m KL(teacher ‖ f_θ'_m) / K, a meta step θ ← θ − η ∇J (through θ'_m, or with
`second_order` off at θ'_m), and then the optimiser's step on the labels as they are.
Li et al., "Learning to Learn from Noisy Labeled Data", 2019.
"""

import torch
from torch import Tensor, nn
from torch.func import grad
from torch.nn import functional

from stages.retrain.learner import Batch, Learner, Setting
from stages.retrain.losses import cross_entropies, weighted_mean
from stages.retrain.options import MlntOptions
from stages.retrain.slow_copy import SlowCopy
from stages.training.meta.look_ahead import Model, Params, as_function


class Mlnt(Learner):
    """A network and its teacher."""

    def __init__(self, setting: Setting, options: MlntOptions) -> None:
        super().__init__([setting.build(0)])
        self.options = options
        self.teacher = SlowCopy(self.networks[0])

    @property
    def result(self) -> nn.Module:
        """Return the teacher."""
        return self.teacher.network

    def forward(self, batch: Batch) -> Tensor:
        """Let the teacher follow, take the meta step, and compare with the labels."""
        self.teacher.follow(self.networks[0], self.options.momentum)
        rate = self.options.meta_rate * min(batch.done / self.options.ramp, 1.0)
        if rate > 0 and len(batch.rows) > 1:
            with torch.autocast(batch.targets.device.type, enabled=False):
                self.meta_step(batch, rate)
        return weighted_mean(cross_entropies(self.scores(batch.views[0]), batch.targets), batch.weights)

    def meta_step(self, batch: Batch, rate: float) -> None:
        """Move the weights so that made-up labels would do less."""
        inputs, generator = batch.views[0], batch.generator()
        with torch.no_grad():
            wanted = torch.softmax(self.teacher(inputs), dim=1)
            near = nearest(seen_as(self.teacher.network, inputs), self.options.neighbours)
        model, params = as_function(self.networks[0])
        total = {name: torch.zeros_like(value) for name, value in params.items()}
        for _ in range(self.options.sets):
            labels = batch.targets[misled(near, self.options.share, generator)]
            for name, change in meta_gradient((model, params), inputs, labels, wanted, self.options).items():
                total[name] += change.detach()
        for name, value in params.items():  # these share the network's memory
            value -= rate / self.options.sets * total[name]


def meta_gradient(
    network: tuple[Model, Params], inputs: Tensor, labels: Tensor, wanted: Tensor, options: MlntOptions
) -> dict[str, Tensor]:
    """Return ∇ KL(wanted ‖ f_θ') / K, averaged over rows; wanted, labels [n, K]."""
    model, params = network[0], dict(network[1])

    def mislearned(values: Params) -> Tensor:
        return cross_entropies(model(values, inputs), labels).mean()

    def distance(values: Params) -> Tensor:
        said = torch.log_softmax(model(values, inputs), dim=1)
        return functional.kl_div(said, wanted, reduction="batchmean") / wanted.shape[1]

    def after_step(values: Params) -> dict[str, Tensor]:
        gradient = grad(mislearned)(values)
        return {name: value - options.inner_rate * gradient[name] for name, value in values.items()}

    if options.second_order:
        change: dict[str, Tensor] = grad(lambda values: distance(after_step(values)))(params)
    else:
        change = grad(distance)(after_step(params))
    return change


def seen_as(network: nn.Module, inputs: Tensor) -> Tensor:
    """Return what the last layers of a network see, [n, d]: the encoder's features, or standardised inputs."""
    part = network.get_submodule("encoder" if hasattr(network, "encoder") else "scale")
    seen: Tensor = part(inputs).float()
    return seen


def nearest(seen: Tensor, count: int) -> Tensor:
    """List the nearest other rows of each row [n, d] in its batch, [n, k]."""
    distances = torch.cdist(seen, seen, compute_mode="donot_use_mm_for_euclid_dist")
    distances.fill_diagonal_(float("inf"))
    return distances.topk(min(count, len(seen) - 1), largest=False).indices


def misled(near: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Draw whose label each row takes, [n]: its own, or for a share of the rows that of a near row."""
    count, device = len(near), near.device
    picks = torch.randint(near.shape[1], (count, 1), generator=generator, device=device)
    chosen = torch.randperm(count, generator=generator, device=device)[: round(share * count)]
    rows = torch.arange(count, device=device)
    rows[chosen] = near.gather(1, picks).flatten()[chosen]
    return rows
