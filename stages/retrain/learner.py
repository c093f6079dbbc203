"""What every robust method is: networks and what teaches them; and the choice between the methods."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

import torch
from torch import Tensor, nn

from stages.networks.classifiers import Ensemble
from stages.retrain.config import RetrainConfig


@dataclass(frozen=True)
class Batch:
    """Some rows with what they teach, all on the device."""

    rows: Tensor  # [n] numbers among the usable rows
    views: tuple[Tensor, ...]  # as many inputs [n, ...] as the learner asks for, each changed at random for itself
    targets: Tensor  # [n, K]
    weights: Tensor  # [n]
    seed: int  # of all random choices of this step
    done: float  # share of the training that is behind, 0..1

    def generator(self) -> torch.Generator:
        """Make the generator of this step's random choices."""
        return torch.Generator(self.targets.device).manual_seed(self.seed)


@dataclass(frozen=True)
class Setting:
    """What a learner is built for."""

    build: Callable[[int], nn.Module]  # network 0, 1, …: the same architecture, each with first weights of its own
    rows: int  # usable rows
    classes: int
    noise_rate: float  # share of wrong labels, as the label table tells


class Learner(nn.Module):
    """Networks and what teaches them; all that changes in training is a parameter or a buffer, so that it is saved.

    `forward(batch)` returns the loss.
    """

    views = 1  # in how many ways it sees each input

    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    @property
    def result(self) -> nn.Module:
        """Return the network that training was for: inputs → scores [n, K]; of several, their mean."""
        return self.networks[0] if len(self.networks) == 1 else Ensemble(list(self.networks))

    def scores(self, inputs: Tensor) -> Tensor:
        """Score inputs by the first network, [n, K] in float32."""
        scores: Tensor = self.networks[0](inputs).float()
        return scores

    def amend_gradients(self) -> None:
        """Change the gradients before the optimiser takes them."""


def build_learner(setting: Setting, config: RetrainConfig) -> Learner:
    """Put the chosen method around new networks."""
    match config.method:
        case "cross_entropy":
            from stages.retrain.methods.cross_entropy import CrossEntropy

            return CrossEntropy(setting, config.cross_entropy)
        case "gce":
            from stages.retrain.methods.gce import Gce

            return Gce(setting, config.gce)
        case "sce":
            from stages.retrain.methods.sce import Sce

            return Sce(setting, config.sce)
        case "elr":
            from stages.retrain.methods.elr import Elr

            return Elr(setting, config.elr)
        case "co_teaching":
            from stages.retrain.methods.co_teaching import CoTeaching

            return CoTeaching(setting, config.co_teaching)
        case "cdr":
            from stages.retrain.methods.cdr import Cdr

            return Cdr(setting, config.cdr)
        case _:
            assert_never(config.method)
