"""Less memory for more time: what a module computed between its ends is forgotten and computed again on the way back.

Batch norm counts every batch once: while something is computed again, running statistics stay as they are.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recomputed(run: Callable[..., Tensor], module: nn.Module, *inputs: Any, **more: Any) -> Tensor:
    """Run what a module does so that only what goes in and comes out is kept for the backward pass."""
    if not torch.is_grad_enabled():
        return run(*inputs, **more)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), frozen_statistics(module)

    result: Tensor = checkpoint(run, *inputs, use_reentrant=False, context_fn=contexts, **more)
    return result


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Let batch norm use the batch without counting it."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm)]
    counted = [dict(norm._buffers) for norm in norms]
    for norm in norms:
        norm._buffers.update({name: b.clone() for name, b in norm._buffers.items() if b is not None})
    try:
        yield
    finally:
        for norm, buffers in zip(norms, counted, strict=True):
            norm._buffers.update(buffers)


def recompute_blocks(network: nn.Module) -> None:
    """Make every block of a network one that is computed again."""
    for block in list(blocks(network)):
        block.forward = partial(recomputed, block.forward, block)


def blocks(network: nn.Module) -> Iterator[nn.Module]:
    """Find the outermost members of sequences that are made of parts themselves, as residual blocks are."""
    sequence = isinstance(network, nn.Sequential | nn.ModuleList)
    for child in network.children():
        if sequence and any(True for _ in child.children()):
            yield child
        else:
            yield from blocks(child)


def in_parts(module: nn.Module, inputs: Tensor, parts: int) -> Tensor:
    """Run a module on its inputs part by part, [n, ...] → [n, ...]: the backward pass holds one part at a time."""
    if parts == 1:
        result: Tensor = module(inputs)
        return result
    some = inputs.tensor_split(min(parts, len(inputs)))
    return torch.cat([recomputed(module, module, part) for part in some])
