"""What holds for every robust method."""

from typing import Any, get_args

import numpy as np
import pytest
import torch

from pipeline.errors import DataError, InterruptedRunError
from pipeline.models import open_model
from stages.networks.classifiers import load_model
from stages.retrain.config import VERSIONS, Method
from stages.shell.stop import StopFlag

METHODS = [method for method in get_args(Method) if method != "outside"]  # has no learner: test_outside.py
QUICK = {"epochs": 12, "learning_rate": 0.02, "batch_size": 32}
MANY = {"epochs": 30, "hidden": 256, "learning_rate": 0.005, "batch_size": 128, "labels": "given"}

AS_PUBLISHED = {"cdr": {"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 0.001}}  # adamw undoes its scaling

LONGER = {"epochs": 6, "learning_rate": 0.02, "batch_size": 8}
SHORT: dict[str, dict[str, Any]] = {"mlnt": {"mlnt": {"sets": 2}}}

every_method = pytest.mark.parametrize("method", METHODS)
robust_methods = pytest.mark.parametrize("method", [m for m in METHODS if m != "cross_entropy"])


def test_every_method_has_a_version() -> None:
    assert set(VERSIONS) == set(get_args(Method))


@every_method
def test_a_separable_problem_is_learned(features_toy: Any, retrain: Any, method: str) -> None:
    metrics = retrain(features_toy(), method=method, hidden=16, **QUICK, **SHORT.get(method, {})).metrics
    assert metrics["test"]["accuracy"] > 0.95


@pytest.fixture(scope="module")
def plain() -> dict[str, float]:
    """Remember what cross_entropy reaches with each optimiser."""
    return {}


@robust_methods
def test_half_the_labels_wrong_hurt_less_than_cross_entropy(
    digits_toy: Any, retrain: Any, method: str, plain: dict[str, float]
) -> None:
    toy, options = digits_toy(rate=0.5), MANY | AS_PUBLISHED.get(method, {}) | SHORT.get(method, {})
    optimiser = options.get("optimizer", "adamw")
    if optimiser not in plain:
        plain[optimiser] = retrain(toy, method="cross_entropy", **options).metrics["test"]["accuracy"]
    assert retrain(toy, method=method, **options).metrics["test"]["accuracy"] > plain[optimiser] + 0.02


@every_method
def test_the_same_seed_gives_the_same_files_and_another_seed_others(
    features_toy: Any, retrain: Any, bytes_of: Any, method: str
) -> None:
    toy, options = features_toy(count=80), SHORT.get(method, {}) | {"method": method, "epochs": 3}
    first, again, other = (bytes_of(retrain(toy, **options, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first["model.safetensors"] != other["model.safetensors"]


@every_method
def test_a_stopped_training_resumes_to_the_same_bytes(
    features_toy: Any, retrain: Any, bytes_of: Any, method: str, stop_after: Any
) -> None:
    toy = features_toy(count=100, validation=True)
    options = {"method": method, "labels": "both", "epochs": 6, "batch_size": 16, "learning_rate": 0.02}
    options |= SHORT.get(method, {})
    unbroken = bytes_of(retrain(toy, **options))
    with stop_after(9), pytest.raises(InterruptedRunError, match="a checkpoint is written"):
        retrain(toy, **options, key="broken", stop=StopFlag())
    assert bytes_of(retrain(toy, **options, key="broken")) == unbroken


@every_method
def test_labels_by_chance_a_class_without_rows_and_batches_of_one_stay_finite(
    make_annotations: Any, make_labels: Any, make_features: Any, retrain: Any, method: str
) -> None:
    rng = np.random.default_rng(0)
    given = rng.choice([0, 1, 3], size=25)  # nothing is of class 2
    names = ["a", "b", "missing", "d"]
    trusted = np.where(np.arange(25) < 3, given, -1)
    columns = {"action": ["trusted" if t >= 0 else "keep" for t in trusted], "trusted": trusted >= 0}
    inputs = {
        "annotations": make_annotations(given, names, trusted=trusted).ref,
        "labels": make_labels((given, given), np.full((25, 4), 0.25), names, **columns).ref,
        "features": make_features(rng.normal(size=(25, 4)).astype(np.float32)).ref,
    }
    toy = type("Toy", (), {"inputs": inputs})
    for size in (1, 24, 64):  # 24: the last batch has one row
        artifact = retrain(
            toy, method=method, hidden=4, epochs=3, batch_size=size, learning_rate=0.01, **SHORT.get(method, {})
        )
        probs = np.array(open_model(artifact).predictions()["probs"].to_pylist())
        np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)
        assert all(np.isfinite(tensor).all() for tensor in open_model(artifact).weights().values())


@every_method
def test_pictures_are_learned_and_the_model_rebuilt(
    pictures_toy: Any, retrain: Any, method: str, pixels_of: Any
) -> None:
    artifact = retrain(pictures_toy, method=method, shift=0.0, **LONGER, **SHORT.get(method, {}))
    model = open_model(artifact)
    assert model.metrics.test is not None
    assert model.metrics.test.accuracy == 1.0
    with torch.inference_mode():
        scores = load_model(artifact)(pixels_of(pictures_toy, 4))
    np.testing.assert_allclose(model.predictions()["probs"].to_pylist()[:4], torch.softmax(scores, 1), atol=1e-5)


@pytest.mark.parametrize("method", ["mlc", "mslg"])
def test_methods_that_learn_from_trusted_rows_refuse_to_do_without(
    features_toy: Any, retrain: Any, method: str
) -> None:
    toy = features_toy(count=60, action=["keep"] * 60)
    with pytest.raises(DataError, match=f"{method} learns from trusted rows, but this dataset has none"):
        retrain(toy, method=method, **QUICK)
