"""Weights from elsewhere: found in whatever holds them, fitted by name or order, refused with a reason."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from pipeline.errors import ConfigError
from stages.networks.backbones import build_backbone
from stages.networks.foreign import agrees_in_order, faults_of, fit_in_order, fit_tensors, read_tensors


@pytest.fixture(scope="module")
def resnet() -> dict[str, Tensor]:
    """Weights of a whole ResNet-18, classifier included, as torchvision writes them."""
    torch.manual_seed(0)
    return dict(torchvision.models.resnet18(weights=None).state_dict())


def backbone(name: str = "resnet18", **more: Any) -> nn.Module:
    return build_backbone(name, 64, stem="own", **more)[0]


@pytest.mark.parametrize(
    ("container", "prefix"),
    [
        ((), ""), (("state_dict",), "module."), (("model",), ""), (("teacher",), "module.backbone."),
        (("state_dict", "model"), "model."), ((), "encoder_q."), (("state_dict",), "backbone."),
    ],
)  # fmt: skip
def test_tensors_are_found_in_what_holds_them(
    resnet: dict[str, Tensor], tmp_path: Path, container: tuple[str, ...], prefix: str
) -> None:
    held: Any = {prefix + name: value for name, value in resnet.items()}
    for name in reversed(container):
        held = {"epoch": 7, name: held, "optimizer": {"state": {}, "lr": 0.1}}
    torch.save(held, tmp_path / "w.pth")
    network = backbone()
    fitted = fit_tensors(read_tensors(tmp_path / "w.pth"), network)
    assert faults_of(fitted, network) == []
    assert fitted.prefix == prefix
    assert fitted.dropped == [f"{prefix}fc.weight", f"{prefix}fc.bias"]
    assert all(torch.equal(value, resnet[name]) for name, value in fitted.tensors.items())


def test_of_two_networks_in_a_file_the_first_or_the_named_one_is_taken(resnet: dict[str, Tensor]) -> None:
    network = backbone()
    both = {f"encoder_q.{n}": v for n, v in resnet.items()} | {f"encoder_k.{n}": v + 1 for n, v in resnet.items()}
    both["queue"] = torch.zeros(128, 64)
    first, named = fit_tensors(both, network), fit_tensors(both, network, "encoder_k.")
    assert faults_of(first, network) == faults_of(named, network) == []
    assert torch.equal(first.tensors["conv1.weight"], resnet["conv1.weight"])
    assert torch.equal(named.tensors["conv1.weight"], resnet["conv1.weight"] + 1)


def test_safetensors_are_read(resnet: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(resnet, tmp_path / "w.safetensors")
    network = backbone()
    assert faults_of(fit_tensors(read_tensors(tmp_path / "w.safetensors"), network), network) == []


def test_old_files_that_count_no_batches_fit(resnet: dict[str, Tensor]) -> None:
    network = backbone()
    old = {name: value for name, value in resnet.items() if not name.endswith("num_batches_tracked")}
    fitted = fit_tensors(old, network)
    assert faults_of(fitted, network) == []
    network.load_state_dict(fitted.tensors)


def test_a_deeper_network_of_the_same_kind_does_not_fit() -> None:
    network = backbone()
    deeper = dict(torchvision.models.resnet34(weights=None).state_dict())
    (fault,) = faults_of(fit_tensors(deeper, network), network)
    assert fault.startswith("96 left over (first: 'layer1.2.conv1.weight')")


def test_what_is_missing_or_of_another_shape_is_counted_and_named(resnet: dict[str, Tensor]) -> None:
    network = backbone()
    torn = {name: value for name, value in resnet.items() if not name.startswith("layer4")}
    torn["conv1.weight"] = torch.zeros(64, 4, 7, 7)
    missing, shape = faults_of(fit_tensors(torn, network), network)
    assert missing.startswith("25 missing (first: 'layer4.0.conv1.weight')")
    assert shape == "1 of another shape ('conv1.weight' is (64, 4, 7, 7) and should be (64, 3, 7, 7))"


def test_a_head_inside_a_row_of_layers_is_a_head() -> None:
    network = build_backbone("mobilenet_v3_small", 64)[0]
    whole = dict(torchvision.models.mobilenet_v3_small(weights=None).state_dict())
    fitted = fit_tensors(whole, network)
    assert faults_of(fitted, network) == []
    assert fitted.dropped == ["classifier.3.weight", "classifier.3.bias"]


def test_other_names_fit_in_order(resnet: dict[str, Tensor]) -> None:
    network = backbone()
    renamed = {f"part{i}": value for i, value in enumerate(resnet.values())}
    assert faults_of(fit_tensors(renamed, network), network)
    assert agrees_in_order(renamed, network)
    fitted = fit_in_order(renamed, network)
    assert faults_of(fitted, network) == []
    assert torch.equal(fitted.tensors["layer4.1.bn2.bias"], resnet["layer4.1.bn2.bias"])
    assert not agrees_in_order(dict(torchvision.models.resnet34(weights=None).state_dict()), network)


class Attack:
    """What a hostile file would hold: a call that is made when the file is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def test_code_in_a_file_is_never_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    torch.save({"state_dict": Attack(mark)}, tmp_path / "zip.pth")
    (tmp_path / "old.pth").write_bytes(pickle.dumps(Attack(mark), protocol=2))
    for name in ("zip.pth", "old.pth"):
        with pytest.raises(
            ConfigError, match=rf"weights {name} cannot be read: reading it would run code .*Bring a state dict"
        ):
            read_tensors(tmp_path / name)
    assert not mark.exists()


def test_a_whole_pickled_network_is_refused_with_a_way_out(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "w.pth")
    with pytest.raises(
        ConfigError, match=r"would run code \(torch\.nn\..*Linear\).*torch\.save\(model\.state_dict\(\)"
    ):
        read_tensors(tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("w.pth", b"\n<!DOCTYPE html><html>Not found</html>", "such as a web page"),
        ("w.safetensors", b"<html></html>", "such as a web page"),
        ("w.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "a Git LFS pointer"),
        ("w.pth", b"", "not whole"),
        ("w.pt", b"\x89PNG\r\n\x1a\n" + bytes(100), "not whole|no plain file"),
        ("w.safetensors", b"\x08\x00\x00\x00", "no whole safetensors file"),
    ],
)
def test_what_is_no_file_of_weights_is_refused(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=rf"weights {name} cannot be read: .*({why})"):
        read_tensors(tmp_path / name)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_half_a_file_is_refused(resnet: dict[str, Tensor], tmp_path: Path, name: str) -> None:
    whole = tmp_path / name
    _ = save_file(resnet, whole) if name.endswith("safetensors") else torch.save(resnet, whole)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(ConfigError, match="cannot be read: it is no"):
        read_tensors(whole)


@pytest.mark.parametrize("held", [{}, [1, 2], {"epoch": 3}, torch.zeros(3)])
def test_a_file_without_named_tensors_is_refused(tmp_path: Path, held: Any) -> None:
    torch.save(held, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="and no named tensors in it"):
        read_tensors(tmp_path / "w.pth")
