"""What every robust method is: networks and what teaches them; and the choice between the methods."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, assert_never

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
    trusted: tuple[Tensor, Tensor] = (torch.empty(0), torch.empty(0))  # inputs and true labels of some trusted rows

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


@dataclass(frozen=True)
class Survey:
    """A look at all rows that teach, between two epochs."""

    rows: Tensor  # [m] numbers among the usable rows
    losses: Callable[[nn.Module], Tensor]  # of a network: its cross-entropy on each of these rows, [m]


class Learner(nn.Module):
    """Networks and what teaches them; all that changes in training is a parameter or a buffer, so that it is saved.

    `forward(batch)` returns the loss.
    """

    views = 1  # in how many ways it sees each input
    trusted_rows = 0  # how many trusted rows it asks for in a step
    remembered: tuple[str, ...] = ()  # buffers [..., rows, K] of which a step changes its own rows
    surveyed: tuple[str, ...] = ()  # buffers that only `after_epoch` changes

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

    def after_epoch(self, survey: Survey) -> None:
        """Learn from a look at all rows."""


def build_learner(setting: Setting, config: RetrainConfig) -> Learner:  # noqa: C901 (a case for each method)
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
        case "elr_plus":
            from stages.retrain.methods.elr_plus import ElrPlus

            return ElrPlus(setting, config.elr_plus)
        case "co_teaching":
            from stages.retrain.methods.co_teaching import CoTeaching

            return CoTeaching(setting, config.co_teaching)
        case "cdr":
            from stages.retrain.methods.cdr import Cdr

            return Cdr(setting, config.cdr)
        case "divide_mix":
            from stages.retrain.methods.divide_mix import DivideMix

            return DivideMix(setting, config.divide_mix)
        case "mlnt" | "mlc" | "mslg":
            return build_meta_learner(setting, config, config.method)
        case "outside":
            raise ValueError("an outside trainer is a program of its own, not learned step by step")
        case _:
            assert_never(config.method)


def build_meta_learner(setting: Setting, config: RetrainConfig, method: Literal["mlnt", "mlc", "mslg"]) -> Learner:
    """Put one of the methods that look a step ahead around a new network."""
    match method:
        case "mlnt":
            from stages.retrain.methods.mlnt import Mlnt

            return Mlnt(setting, config.mlnt)
        case "mlc":
            from stages.retrain.methods.mlc import Mlc

            return Mlc(setting, config.mlc)
        case "mslg":
            from stages.retrain.methods.mslg import Mslg

            return Mslg(setting, config.mslg)
        case _:
            assert_never(method)
