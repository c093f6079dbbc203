"""Weights from elsewhere: read without running anybody's code, and fitted to a backbone by name or by order."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline.errors import ConfigError

CONTAINERS = ("state_dict", "model_state_dict", "model", "teacher", "student", "network", "encoder", "backbone")
TEXTS = (b"<!doctype", b"<html", b"<?xml", b'{"', b"version https://git-lfs")
COUNTED = "num_batches_tracked"  # old files lack it, and nothing computes with it
HEAD_TENSORS = 4  # weight and bias of two layers, at the most
CODE = re.compile(r"GLOBAL ([\w.]+)")

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Fitted:
    """A backbone's tensors as a file has them, under the backbone's names; and what was not taken."""

    tensors: Tensors
    prefix: str
    dropped: list[str]


def read_tensors(path: Path) -> Tensors:
    """Read the named tensors of a .safetensors, .pth or .pt file; nothing that it says is run."""
    with path.open("rb") as file:
        start = file.read(512).lstrip().lower()
    if start.startswith(TEXTS):
        what = "a Git LFS pointer" if start.startswith(b"version") else "text, such as a web page,"
        raise unreadable(path, f"it is {what} and holds no weights")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        held = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise unreadable(path, f"it is no whole safetensors file ({error})") from error
    except Exception as error:
        raise unreadable(path, why_not(error)) from error
    found = unwrap(held)
    if not found:
        raise unreadable(path, f"it holds {type(held).__name__}, and no named tensors in it")
    return found


def why_not(error: Exception) -> str:
    """Say in a few words why torch refused a file."""
    text = str(error)
    needs = CODE.search(text)
    if "weights_only" in text or "Weights only" in text or "TorchScript" in text:
        return (
            f"reading it would run code ({needs.group(1)})" if needs else "it is no plain file of tensors, or not whole"
        )
    return f"it is not whole, or no file of torch's ({(text.splitlines() or [type(error).__name__])[0][:120]})"


def unreadable(path: Path, why: str) -> ConfigError:
    """Say that a file cannot be taken, and how to make one that can."""
    return ConfigError(
        f"weights {path.name} cannot be read: {why}.",
        "Bring a state dict: `safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')`, or "
        "`torch.save(model.state_dict(), 'weights.pth')`, where the model is.",
    )


def unwrap(held: Any) -> Tensors:
    """Find the named tensors in what a checkpoint holds."""
    if not isinstance(held, Mapping):
        return {}
    for name in CONTAINERS:
        if isinstance(held.get(name), Mapping) and (inner := unwrap(held[name])):
            return inner
    return {str(name): value for name, value in held.items() if isinstance(value, Tensor)}


def fit_tensors(tensors: Tensors, network: nn.Module, prefix: str = "") -> Fitted:
    """Give a network's tensors what a file has under the same names, a prefix aside; what is missing stays out."""
    expected = network.state_dict()
    taken = prefix or likely_prefix(tensors, expected)
    inside = {name.removeprefix(taken): value for name, value in tensors.items() if name.startswith(taken)}
    found = {name: value for name, value in inside.items() if name in expected}
    found |= {name: value for name, value in expected.items() if name.endswith(COUNTED) and name not in found}
    left = [name for name in tensors if not name.startswith(taken) or name.removeprefix(taken) not in expected]
    return Fitted(found, taken, left)


def likely_prefix(tensors: Tensors, expected: Mapping[str, Tensor]) -> str:
    """Find what stands before the names of most expected tensors; of equals the one that comes first."""
    counts: Counter[str] = Counter()
    for name in tensors:
        ends = [0, *(dot.end() for dot in re.finditer(r"\.", name))]
        counts.update(name[:end] for end in ends if name[end:] in expected)
    return max(counts, key=lambda prefix: counts[prefix]) if counts else ""


def fit_in_order(tensors: Tensors, network: nn.Module) -> Fitted:
    """Give a network's tensors those of a file one after the other; a head at the end is left over."""
    expected = network.state_dict()
    pairs = zip(expected, tensors.values(), strict=False)
    return Fitted(dict(pairs), "", list(tensors)[len(expected) :])


def agrees_in_order(tensors: Tensors, network: nn.Module) -> bool:
    """Tell whether a file's tensors have the shapes of a network's in the same order, a head at the end aside."""
    shapes = [value.shape for value in network.state_dict().values()]
    found = [value.shape for value in tensors.values()]
    return found[: len(shapes)] == shapes and len(found) <= len(shapes) + HEAD_TENSORS


def faults_of(fitted: Fitted, network: nn.Module) -> list[str]:
    """List what keeps fitted tensors from being a network's weights: missing, of another shape, left over."""
    expected = network.state_dict()
    missing = [name for name in expected if name not in fitted.tensors]
    shapes = [
        f"'{name}' is {tuple(value.shape)} and should be {tuple(expected[name].shape)}"
        for name, value in fitted.tensors.items()
        if value.shape != expected[name].shape
    ]
    left = [name for name in fitted.dropped if not is_head(name, fitted.prefix, network)]
    said = ((missing, "missing"), (left, "left over"))
    found = [f"{len(names)} {what} (first: '{names[0]}')" for names, what in said if names]
    return found + ([f"{len(shapes)} of another shape ({shapes[0]})"] if shapes else [])


def is_head(name: str, prefix: str, network: nn.Module) -> bool:
    """Tell whether a tensor that is left over belongs to no part that the network has: a head, a projector, a queue."""
    parts = name.removeprefix(prefix).split(".")
    if not name.startswith(prefix) or len(parts) == 1:  # a queue, a token
        return True
    try:
        return isinstance(network.get_submodule(".".join(parts[:-1])), nn.Identity)
    except AttributeError:
        return parts[0] not in dict(network.named_children())
