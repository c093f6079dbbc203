"""torch.compile where it is wanted and possible: the same network under the same names, in fewer and larger kernels."""

import sys
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn


def compile_members(network: nn.Module, device: torch.device, stage: str = "represent") -> str:
    """Let every member with parameters be compiled when it is first called; return why not, or nothing."""
    reason = why_not(device)
    if reason:
        return f"{stage}.compile has no effect here: {reason}. The training was not compiled."
    for member in network.children():
        if any(True for _ in member.parameters()):
            member.compile()
    return ""


def why_not(device: torch.device) -> str:
    """Try the compiler on something small; return what it says, or nothing."""
    probe = nn.Linear(4, 4).to(device)
    try:
        probe.compile()
        probe(torch.ones(2, 4, device=device)).sum().backward()
    except Exception as error:  # noqa: BLE001 (compilers fail in many ways)
        return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return ""


def uncompiled() -> AbstractContextManager[object]:
    """Call networks as they were written, for a few batches of other sizes that are not worth compiling for."""
    dynamo = "torch._dynamo" in sys.modules  # else nothing was compiled, and to ask would take seconds
    return torch.compiler.set_stance("force_eager") if dynamo else nullcontext()
