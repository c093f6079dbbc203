"""Weights in and out: safetensors, never pickle; loading says which tensors do not fit."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipeline.errors import ContractError


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write named tensors; the same tensors make the same bytes."""
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read named tensors to the CPU."""
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise ContractError(f"weights {path.name} cannot be read: {error}.", "Make them again.") from error


def save_weights(network: nn.Module, path: Path) -> None:
    """Write all parameters and buffers of a network."""
    save_tensors(network.state_dict(), path)


def load_weights(network: nn.Module, path: Path) -> None:
    """Fill a network that was built for these weights."""
    tensors = load_tensors(path)
    expected = network.state_dict()
    faults = sorted(n for n in expected.keys() ^ tensors.keys()) + sorted(
        n for n in expected.keys() & tensors.keys() if expected[n].shape != tensors[n].shape
    )
    if faults:
        raise ContractError(
            f"weights {path.name} do not fit the network: {len(faults)} of {len(expected)} tensors are missing, left "
            f"over or of another shape (first: '{faults[0]}').",
            "Use weights that were made with the same backbone, width and image size.",
        )
    network.load_state_dict(tensors)
