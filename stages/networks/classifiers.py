"""Whole classifiers as the model artifact describes them: built, and loaded with their weights."""

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pipeline.artifacts import Artifact
from pipeline.models import WEIGHTS, ModelDescription, open_model
from stages.networks.encoder import Encoder, EncoderDescription
from stages.networks.heads import build_classifier, build_mlp
from stages.networks.weights import load_weights


class Standardise(nn.Module):
    """Bring features [n, d] to mean 0 and standard deviation 1, as measured on the dataset."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.float())
        self.register_buffer("std", std.float())

    def forward(self, features: Tensor) -> Tensor:
        """Subtract the mean, divide by the standard deviation."""
        return (features - self.mean) / self.std


class Ensemble(nn.Module):
    """Several classifiers of one kind; their scores are averaged."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, inputs: Tensor) -> Tensor:
        """Average the members' scores [n, classes]."""
        return torch.stack([member(inputs) for member in self.members]).mean(dim=0)


def several(build: Callable[[], nn.Module], members: int) -> nn.Module:
    """Build one classifier, or an ensemble."""
    return build() if members == 1 else Ensemble([build() for _ in range(members)])


def build_head(scale: Standardise, hidden: int, classes: int) -> nn.Sequential:
    """Build a classifier of features as they come: parts `scale` and `layers`."""
    layers = build_mlp(len(scale.mean), hidden, classes)
    return nn.Sequential(OrderedDict([("scale", scale), ("layers", layers)]))


def rebuild(description: ModelDescription) -> nn.Module:
    """Build the untrained network that a model artifact describes.

    Images: `network` = {"encoder": its description, "scaled_head": whether the head standardises}; in: RGB in 0..1.
    Features: `network` = {"inputs", "hidden"}; in: the features as they are in the store. Out: one score a class.
    Both: "members", how many networks are averaged (1 where it is missing); of a scaled head, how many heads.
    """
    network, classes = description.network, len(description.classes)
    members = int(network.get("members", 1))
    if description.input == "features":
        shape = int(network["inputs"]), int(network["hidden"])
        return several(lambda: build_head(unmeasured(shape[0]), shape[1], classes), members)
    encoder = EncoderDescription.model_validate(network["encoder"])
    if network["scaled_head"]:
        frozen = Encoder(encoder)
        return join(frozen, several(lambda: build_head(unmeasured(frozen.dim), 0, classes), members))
    return several(lambda: build_classifier(Encoder(encoder), classes), members)


def unmeasured(dim: int) -> Standardise:
    """Make the place for a measured mean and spread."""
    return Standardise(torch.zeros(dim), torch.ones(dim))


def join(encoder: Encoder, head: nn.Module) -> nn.Sequential:
    """Put a trained head on the encoder that it was trained on: parts `encoder` and `head`, as in build_classifier."""
    return nn.Sequential(OrderedDict([("encoder", encoder), ("head", head)]))


def load_model(artifact: Artifact) -> nn.Module:
    """Rebuild a trained network from its artifact, ready to predict."""
    network = rebuild(open_model(artifact).description)
    load_weights(network, artifact.path(WEIGHTS))
    return network.eval()
