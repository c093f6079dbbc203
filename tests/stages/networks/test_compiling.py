"""torch.compile: the same network under the same names, or a word why not."""

from functools import partial

import pytest
import torch
from torch import nn

from stages.networks.compiling import compile_members, uncompiled, why_not

CPU = torch.device("cpu")


def without_a_compiler(*_: object, **__: object) -> object:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("\nNo working C++ compiler found in config.cpp.cxx: (None, 'g++')\nmore")

    return fail


def test_what_the_compiler_says_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", without_a_compiler)
    assert why_not(CPU) == "No working C++ compiler found in config.cpp.cxx: (None, 'g++')"
    network = nn.Sequential(nn.Linear(2, 2))
    said = compile_members(network, CPU)
    assert said.startswith("represent.compile has no effect here: No working C++ compiler")
    assert network(torch.ones(1, 2)).shape == (1, 2)  # goes on uncompiled


@pytest.mark.slow
def test_compiled_members_keep_their_names_and_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    network = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    plain, names = network(torch.ones(2, 3)), list(network.state_dict())
    assert compile_members(network, CPU) == ""
    assert torch.equal(network(torch.ones(2, 3)), plain)
    assert list(network.state_dict()) == names
    with uncompiled():
        assert torch.equal(network(torch.ones(5, 3))[:2], plain)
