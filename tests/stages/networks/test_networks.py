"""Devices, backbones, encoders and their weights."""

from pathlib import Path

import pytest
import torch

from pipeline.errors import ConfigError, ContractError
from stages.networks.backbones import build_backbone
from stages.networks.devices import mixed_precision, pick_device
from stages.networks.encoder import Encoder, EncoderDescription, load_encoder, save_encoder
from stages.networks.heads import build_classifier, build_mlp

SMALL = EncoderDescription(backbone="small_cnn", width=8, image_size=8, mean=(0.5,) * 3, std=(0.2,) * 3)


def make_encoder(seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    return Encoder(SMALL)


def test_auto_takes_what_is_there() -> None:
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert pick_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cpu:0", "cuda:x", "cuda:-1", "CPU", "", "cuda:"])
def test_an_unknown_device_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"is not known\. Use auto|shows 0 GPUs"):
        pick_device(name)


def test_a_gpu_that_is_not_there_is_refused_with_what_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ConfigError, match="shows 2 GPUs"):
        pick_device("cuda:2")


def test_full_precision_stays_full() -> None:
    with mixed_precision(torch.device("cpu"), wanted=False):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


@pytest.mark.parametrize(("name", "size"), [("small_cnn", 8), ("small_cnn", 30), ("resnet18", 32), ("resnet18", 96)])
def test_a_backbone_gives_as_many_numbers_as_it_says(name: str, size: int) -> None:
    network, dim = build_backbone(name, size, 8)
    assert network.eval()(torch.rand(2, 3, size, size)).shape == (2, dim)


def test_the_stem_for_small_images_keeps_their_size() -> None:
    small, large = build_backbone("resnet18", 64)[0], build_backbone("resnet18", 68)[0]
    assert small.conv1.stride == (1, 1)
    assert large.conv1.stride == (2, 2)


def test_an_unknown_backbone_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'resnet19' is not known\. Use small_cnn, .*resnet18"):
        build_backbone("resnet19", 32)


def test_an_encoder_comes_back_with_its_preprocessing_and_features(tmp_path: Path) -> None:
    encoder, images = make_encoder().eval(), torch.rand(4, 3, 8, 8)
    save_encoder(encoder, tmp_path)
    again = load_encoder(tmp_path / "encoder.json", tmp_path / "encoder.safetensors")
    assert again.description == encoder.description
    assert again.dim == 32
    assert torch.equal(again(images), encoder(images))


def test_the_same_encoder_makes_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        save_encoder(make_encoder(), tmp_path / name)
    assert (tmp_path / "a/encoder.safetensors").read_bytes() == (tmp_path / "b/encoder.safetensors").read_bytes()


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_encoder(make_encoder(), tmp_path)
    other = SMALL.model_copy(update={"width": 16}).model_dump_json()
    (tmp_path / "encoder.json").write_text(other)
    with pytest.raises(ContractError, match=r"do not fit the network: \d+ of \d+ tensors"):
        load_encoder(tmp_path / "encoder.json", tmp_path / "encoder.safetensors")


def test_files_that_are_no_encoder_are_refused(tmp_path: Path) -> None:
    save_encoder(make_encoder(), tmp_path)
    (tmp_path / "encoder.safetensors").write_bytes(b"torn")
    with pytest.raises(ContractError, match="cannot be read"):
        load_encoder(tmp_path / "encoder.json", tmp_path / "encoder.safetensors")
    (tmp_path / "encoder.json").write_text("{}")
    with pytest.raises(ContractError, match="does not describe an encoder"):
        load_encoder(tmp_path / "encoder.json", tmp_path / "encoder.safetensors")


def test_classifiers_score_every_class() -> None:
    assert build_classifier(make_encoder(), 5)(torch.rand(2, 3, 8, 8)).shape == (2, 5)
    assert build_mlp(7, 16, 5)(torch.rand(2, 7)).shape == (2, 5)
    assert len(build_mlp(7, 0, 5)) == 1
