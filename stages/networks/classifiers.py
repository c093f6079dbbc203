"""Whole classifiers as the model artifact describes them: built, and loaded with their weights."""

from collections import OrderedDict

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


def build_head(scale: Standardise, hidden: int, classes: int) -> nn.Sequential:
    """Build a classifier of features as they come: parts `scale` and `layers`."""
    layers = build_mlp(len(scale.mean), hidden, classes)
    return nn.Sequential(OrderedDict([("scale", scale), ("layers", layers)]))


def rebuild(description: ModelDescription) -> nn.Module:
    """Build the untrained network that a model artifact describes.

    Images: `network` = {"encoder": its description, "scaled_head": whether the head standardises}; in: RGB in 0..1.
    Features: `network` = {"inputs", "hidden"}; in: the features as they are in the store. Out: one score a class.
    """
    network, classes = description.network, len(description.classes)
    if description.input == "features":
        return build_head(unmeasured(int(network["inputs"])), int(network["hidden"]), classes)
    encoder = Encoder(EncoderDescription.model_validate(network["encoder"]))
    if network["scaled_head"]:
        return join(encoder, build_head(unmeasured(encoder.dim), 0, classes))
    return build_classifier(encoder, classes)


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
