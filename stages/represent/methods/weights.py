"""Weights that were trained elsewhere: nothing is learned, the file is fitted to its backbone and asked how it sees.

features = backbone((centre square scaled − mean) / std), everything as the weights were trained; a classifier's last
layer, projectors and queues in the file are left out.
"""

from pathlib import Path

from stages.networks.bring import Brought, Wanted
from stages.networks.bring import bring as bring_network
from stages.represent.config import RepresentConfig


def bring(config: RepresentConfig, path: Path) -> Brought:
    """Read weights from a file and make them an encoder."""
    return bring_network(Wanted(config.backbone, config.width, config.image_size, config.weights), path)
