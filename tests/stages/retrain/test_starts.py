"""What an image network starts from and how fast its layers learn; embeddings; a memory that is too small."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from pipeline.errors import ConfigError, InterruptedRunError, ResourceError
from pipeline.models import open_model
from stages.networks.classifiers import load_model
from stages.networks.compiling import compile_members
from stages.networks.encoder import Encoder, EncoderDescription
from stages.retrain import produce as module
from stages.retrain import train as training
from stages.retrain.config import RetrainConfig
from stages.shell.stop import StopFlag

QUICK = {"epochs": 4, "learning_rate": 0.02, "batch_size": 16, "shift": 0.0}
STILL = {"epochs": 1, "learning_rate": 1e-9, "batch_size": 16, "shift": 0.0}
WIDE = EncoderDescription(backbone="small_cnn", width=8, image_size=8, mean=(0.5,) * 3, std=(0.5,) * 3)


def first_layer(artifact: Any) -> np.ndarray:
    return open_model(artifact).weights()["encoder.backbone.0.enter.0.weight"]


@pytest.fixture
def own_weights(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    path = tmp_path / "own.pth"
    torch.save(Encoder(WIDE).backbone.state_dict(), path)
    return path


def test_training_starts_from_a_file_of_weights(pictures_toy: Any, retrain: Any, own_weights: Path) -> None:
    start = {"start_from": "weights", "backbone": "small_cnn", "image_size": 8}
    options = {"path": str(own_weights), "normalise": "half"}
    artifact = retrain(pictures_toy, **STILL, **start, weights=options)
    expected = torch.load(own_weights, weights_only=True)["0.enter.0.weight"].numpy()
    np.testing.assert_allclose(first_layer(artifact), expected, atol=1e-6)
    assert open_model(artifact).description.network["encoder"]["mean"] == [0.5, 0.5, 0.5]
    with pytest.raises(ConfigError, match=r"retrain\.weights\.path .* is not there"):
        retrain(pictures_toy, **STILL, **start, weights={"path": "/nowhere/a.pth", "normalise": "half"})
    with pytest.raises(ConfigError, match=r"do not fit backbone 'resnet18': .* \(retrain\.backbone, image_size\)"):
        retrain(pictures_toy, **STILL, **start | {"backbone": "resnet18"}, weights=options)


def test_the_file_counts_by_its_content(own_weights: Path) -> None:
    start = {"start_from": "weights", "backbone": "small_cnn"}
    here, there, other = (
        RetrainConfig(**start, weights={"path": path, "sha256": checksum * 64, "normalise": "none"}).identity()
        for path, checksum in (("/a.pth", "a"), ("/b.pth", "a"), ("/a.pth", "b"))
    )
    assert here == there != other
    assert "weights" not in RetrainConfig(weights={"path": "/a.pth"}).identity()


def test_scratch_may_be_another_network(pictures_toy: Any, retrain: Any, pixels_of: Any) -> None:
    artifact = retrain(pictures_toy, **STILL, start_from="scratch", backbone="resnet18", image_size=16)
    shape = open_model(artifact).description
    assert (shape.network["encoder"]["backbone"], shape.preprocessing["image_size"]) == ("resnet18", 16)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"start_from": "weights", "backbone": "resnet18"}, r"retrain\.weights\.path is missing"),
        ({"start_from": "weights", "weights": {"path": "a.pth"}}, r"retrain\.backbone must name the network"),
        ({"backbone": "resnet18"}, "count with start_from scratch or weights only"),
        ({"freeze": True, "head_first": 2}, "freeze trains the head alone"),
    ],
)
def test_starts_that_mean_nothing_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RetrainConfig(**fields)


@pytest.mark.parametrize("more", [{"head_first": 1}, {"layer_decay": 0.5}])
def test_features_have_no_layers_below_the_head(features_toy: Any, retrain: Any, more: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="are for image networks, but this dataset has features"):
        retrain(features_toy(), **more)


def test_lower_layers_learn_more_slowly(pictures_toy: Any, retrain: Any) -> None:
    options = {"epochs": 1, "learning_rate": 1e-3, "weight_decay": 0.0, "batch_size": 64, "shift": 0.0}
    start, plain, decayed = (
        open_model(retrain(pictures_toy, **options | more)).weights()
        for more in ({"learning_rate": 1e-12}, {}, {"layer_decay": 0.1})
    )
    names = ["head.weight", *(f"encoder.backbone.{block}.enter.0.weight" for block in (2, 1, 0))]
    moved = [np.abs(decayed[n] - start[n]).max() / np.abs(plain[n] - start[n]).max() for n in names]
    np.testing.assert_allclose(moved, [1, 0.1, 0.01, 0.001], rtol=0.1)


def test_the_head_learns_first_and_then_all_and_a_stop_changes_nothing(
    pictures_toy: Any, retrain: Any, bytes_of: Any, stop_after: Any
) -> None:

    start, head, both = (
        retrain(pictures_toy, **QUICK | more) for more in (STILL, {"head_first": 4}, {"head_first": 2})
    )
    np.testing.assert_allclose(first_layer(head), first_layer(start), atol=1e-6)
    resting, woken = (open_model(made).weights() for made in (head, both))
    statistics = "encoder.backbone.0.enter.1.running_mean"
    assert (resting[statistics] == 0).all()
    assert np.abs(woken[statistics]).max() > 0
    assert np.abs(first_layer(both) - first_layer(start)).max() > 1e-3
    losses = [entry["loss"] for entry in head.metrics["curve"]]
    assert losses[-1] < losses[0]  # the head did learn
    for steps in (3, 8):  # in the middle of the head's epochs, and after them
        key = f"broken{steps}"
        with stop_after(steps), pytest.raises(InterruptedRunError, match="a checkpoint is written"):
            retrain(pictures_toy, **QUICK, head_first=2, key=key, stop=StopFlag())
        assert bytes_of(retrain(pictures_toy, **QUICK, head_first=2, key=key)) == bytes_of(both)


def test_embeddings_are_what_the_last_layer_sees(pictures_toy: Any, retrain: Any, pixels_of: Any) -> None:
    artifact = retrain(pictures_toy, **QUICK, method="co_teaching", embeddings=True)
    said = open_model(artifact).predictions()
    assert said["embedding"][5].as_py() is None  # the broken picture
    with torch.inference_mode():
        network = load_model(artifact)
        pixels = pixels_of(pictures_toy, 4)
        expected = torch.stack([member.get_submodule("encoder")(pixels) for member in network.members]).mean(0)
    np.testing.assert_allclose(said["embedding"].to_pylist()[:4], expected.numpy(), atol=1e-5)
    assert "embedding" not in open_model(retrain(pictures_toy, **STILL)).predictions().column_names


def test_a_memory_that_is_too_small_says_what_to_lower(
    pictures_toy: Any, retrain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflow(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore")

    monkeypatch.setattr(module, "train", overflow)
    expected = r"too small for retrain: mlnt on small_cnn, 128 rows .*second_order: false.*Lower retrain\.batch_size"
    with pytest.raises(ResourceError, match=expected):
        retrain(pictures_toy, method="mlnt")


def test_a_compiler_that_is_missing_is_told_and_changes_nothing(
    features_toy: Any, retrain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy, quick = features_toy(), {"epochs": 2, "hidden": 4}
    plain = retrain(toy, **quick)
    monkeypatch.setattr("stages.networks.compiling.why_not", lambda _device: "no compiler")
    uncompiled = retrain(toy, **quick, compile=True)
    assert uncompiled.metrics["warnings"] == [
        "retrain.compile has no effect here: no compiler. The training was not compiled."
    ]
    assert plain.path("model.safetensors").read_bytes() == uncompiled.path("model.safetensors").read_bytes()
    ahead = retrain(toy, **quick, compile=True, method="mlc")
    assert "no effect with mlc" in ahead.metrics["warnings"][0]
    assert training.compile_members is compile_members
