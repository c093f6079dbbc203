"""Classifiers: a linear head on an encoder, or a small network on features."""

from collections import OrderedDict

from torch import nn

from stages.networks.encoder import Encoder


def build_classifier(encoder: Encoder, classes: int) -> nn.Sequential:
    """Put a linear head on an encoder: images [n, 3, size, size] → scores [n, classes]; parts `encoder`, `head`."""
    return nn.Sequential(OrderedDict([("encoder", encoder), ("head", nn.Linear(encoder.dim, classes))]))


def build_mlp(inputs: int, hidden: int, classes: int) -> nn.Sequential:
    """Build a classifier of features [n, inputs] with one hidden layer, or none where `hidden` is 0."""
    if hidden == 0:
        return nn.Sequential(nn.Linear(inputs, classes))
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, classes))
