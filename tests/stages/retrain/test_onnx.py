"""The model as ONNX: it says what torch says, for any number of rows, and is refused where it does not."""

from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from pipeline.errors import ConfigError, StageFailedError
from pipeline.features import open_features
from pipeline.models import open_model
from stages.retrain import onnx_file

QUICK = {"epochs": 6, "learning_rate": 0.02, "batch_size": 32, "onnx": True}


def probabilities(artifact: Any, name: str, inputs: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(artifact.path("model.onnx"), providers=["CPUExecutionProvider"])
    return session.run(["probabilities"], {name: inputs})[0]


def test_features_give_the_same_probabilities_temperature_included(features_toy: Any, retrain: Any, store: Any) -> None:
    toy = features_toy(validation=True)
    artifact = retrain(toy, hidden=8, method="co_teaching", **QUICK)
    assert artifact.metrics["onnx"]["difference"] < 1e-5
    assert open_model(artifact).description.temperature != 1.0
    values = np.array(open_features(store.get(toy.inputs["features"])).array()).astype(np.float32)
    said = open_model(artifact).predictions()["probs"].to_pylist()
    for rows in (240, 1):
        np.testing.assert_allclose(probabilities(artifact, "features", values[:rows]), said[:rows], atol=1e-4)


@pytest.mark.parametrize("freeze", [False, True])
def test_pictures_give_the_same_probabilities(pictures_toy: Any, retrain: Any, pixels_of: Any, freeze: bool) -> None:
    artifact = retrain(pictures_toy, freeze=freeze, shift=0.0, **QUICK)
    said = open_model(artifact).predictions()["probs"].to_pylist()[:4]
    np.testing.assert_allclose(probabilities(artifact, "images", pixels_of(pictures_toy, 4).numpy()), said, atol=1e-4)


def test_a_model_that_says_something_else_is_refused(
    features_toy: Any, retrain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "DIFFERENCE", -1.0)
    with pytest.raises(StageFailedError, match=r"model\.onnx says probabilities that are up to .* from torch's"):
        retrain(features_toy(), **QUICK)


def test_without_the_packages_it_says_what_to_install(
    features_toy: Any, retrain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"retrain\.onnx needs the package onnxruntime.*puriflow\[onnx\]"):
        retrain(features_toy(), **QUICK)


def test_exporting_leaves_the_model_as_it_is(features_toy: Any, retrain: Any) -> None:
    toy = features_toy()
    plain, exported = (retrain(toy, **QUICK | {"onnx": on}) for on in (False, True))
    assert plain.path("model.safetensors").read_bytes() == exported.path("model.safetensors").read_bytes()
    assert torch.is_grad_enabled()
