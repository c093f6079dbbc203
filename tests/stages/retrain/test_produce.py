"""The stage as a whole: what it learns, writes, rebuilds, resumes and refuses."""

from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.artifacts import Artifact
from pipeline.errors import ContractError, DataError, InterruptedRunError, ResourceError
from pipeline.features import open_features
from pipeline.models import CLASSES, CONFUSION, open_model
from stages.networks.classifiers import load_model
from stages.shell.stop import StopFlag

QUICK = {"epochs": 12, "learning_rate": 0.02, "batch_size": 32}


def test_purified_labels_beat_given_ones_on_a_clean_test_split(features_toy: Any, retrain: Any) -> None:
    toy = features_toy()
    model = open_model(retrain(toy, labels="both", hidden=16, **QUICK | {"epochs": 40}))
    assert model.metrics.test is not None
    assert model.metrics.given is not None
    assert model.metrics.given.test is not None
    assert model.metrics.test.accuracy > 0.95
    assert model.metrics.test.accuracy > model.metrics.given.test.accuracy
    assert model.metrics.test.scored_on == "given"


def test_both_trains_the_same_purified_model_as_purified_alone(features_toy: Any, retrain: Any) -> None:
    toy = features_toy()
    alone, both = (retrain(toy, labels=labels, **QUICK) for labels in ("purified", "both"))
    assert alone.path("model.safetensors").read_bytes() == both.path("model.safetensors").read_bytes()
    assert retrain(toy, labels="given", **QUICK).metrics["test"] == both.metrics["given"]["test"]


def test_a_rebuilt_model_predicts_what_the_table_says(features_toy: Any, retrain: Any, store: Any) -> None:
    toy = features_toy()
    artifact = retrain(toy, hidden=8, **QUICK)
    network, model = load_model(artifact), open_model(artifact)
    features = open_features(store.get(toy.inputs["features"]))
    with torch.inference_mode():
        probs = torch.softmax(network(torch.from_numpy(np.array(features.array()))), dim=1)
    said = model.predictions()
    np.testing.assert_allclose(np.array(said["probs"].to_pylist()), probs.numpy(), atol=1e-6)
    assert said["predicted_label"].to_pylist() == probs.argmax(1).tolist()
    assert said["predicted_name"].to_pylist() == ["abc"[i] for i in probs.argmax(1)]
    assert said["sample_id"].to_pylist() == features.sample_ids.tolist()
    assert said["split"].to_pylist() == toy.split


@pytest.mark.parametrize("freeze", [False, True])
def test_pictures_are_learned_and_the_model_rebuilt(
    pictures_toy: Any, retrain: Any, pixels_of: Any, freeze: bool
) -> None:
    artifact = retrain(pictures_toy, freeze=freeze, shift=0.0, **QUICK | {"epochs": 6})
    model = open_model(artifact)
    assert model.metrics.test is not None
    assert model.metrics.test.accuracy == 1.0
    assert model.metrics.test.rows == 19  # the broken row is a test row
    said = model.predictions()
    assert said["confidence"][5].as_py() < said["confidence"][0].as_py()
    with torch.inference_mode():
        scores = load_model(artifact)(pixels_of(pictures_toy, 4))
    np.testing.assert_allclose(said["probs"].to_pylist()[:4], torch.softmax(scores, 1).numpy(), atol=1e-5)


def test_pictures_decoded_on_the_way_make_the_same_model(pictures_toy: Any, retrain: Any, bytes_of: Any) -> None:
    cached, streamed = (retrain(pictures_toy, cache_gib=gib, **QUICK | {"epochs": 2}) for gib in (None, 0))
    assert bytes_of(cached) == bytes_of(streamed)


def test_scratch_takes_the_architecture_but_not_the_weights(pictures_toy: Any, retrain: Any) -> None:
    options = {"epochs": 1, "learning_rate": 1e-9, "batch_size": 16}
    weights = [
        open_model(retrain(pictures_toy, **options, **more)).weights()
        for more in ({}, {"start_from": "scratch"}, {"start_from": "scratch"}, {"start_from": "scratch", "seed": 1})
    ]
    first = [w["encoder.backbone.0.enter.0.weight"] for w in weights]
    assert first[0].shape == first[1].shape
    assert np.abs(first[0] - first[1]).max() > 0.01
    np.testing.assert_array_equal(first[1], first[2])
    assert np.abs(first[1] - first[3]).max() > 0.01


def test_the_same_seed_gives_the_same_files_and_another_seed_others(
    features_toy: Any, retrain: Any, bytes_of: Any
) -> None:
    toy = features_toy()
    options = QUICK | {"cross_entropy": {"mixup": 0.3, "label_smoothing": 0.1}}
    first, again, other = (bytes_of(retrain(toy, **options, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first["model.safetensors"] != other["model.safetensors"]


def test_a_stopped_training_with_mixup_resumes_to_the_same_bytes(
    features_toy: Any, retrain: Any, bytes_of: Any, stop_after: Any
) -> None:
    toy = features_toy(validation=True)
    options = QUICK | {"labels": "both", "cross_entropy": {"mixup": 0.2}}
    unbroken = bytes_of(retrain(toy, **options))
    with stop_after(17), pytest.raises(InterruptedRunError, match="a checkpoint is written"):
        retrain(toy, **options, key="broken", stop=StopFlag())
    assert bytes_of(retrain(toy, **options, key="broken")) == unbroken


def test_a_stop_while_predicting_keeps_what_was_trained(
    features_toy: Any, retrain: Any, stop_after: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = features_toy()
    flag = StopFlag()
    from stages.retrain import write

    original = write.predict_all
    monkeypatch.setattr(write, "predict_all", lambda *a: (flag.request(15), original(*a))[1])
    with pytest.raises(InterruptedRunError, match="a checkpoint is written"):
        retrain(toy, **QUICK, key="broken", stop=flag)
    monkeypatch.undo()
    with stop_after(0):  # a single further step would stop it again
        assert retrain(toy, **QUICK, key="broken").metrics["epochs"] == QUICK["epochs"]


def test_validation_rows_choose_the_epoch_and_nothing_else_does(features_toy: Any, retrain: Any) -> None:
    chosen = retrain(features_toy(validation=True), **QUICK).metrics
    curve = [entry["validation_purified"] for entry in chosen["curve"]]
    assert chosen["best"] == max(curve) == chosen["validation"]["accuracy"]
    assert chosen["shipped_epoch"] == curve.index(max(curve)) + 1
    unchosen = retrain(features_toy(), **QUICK).metrics
    assert unchosen["shipped_epoch"] == QUICK["epochs"]
    assert (unchosen["best"], unchosen["validation"]) == (None, None)


def test_a_temperature_comes_from_validation_rows_alone(features_toy: Any, retrain: Any, store: Any) -> None:
    given = {"labels": "given", "hidden": 16, **QUICK | {"epochs": 40}}
    unchosen = retrain(features_toy(), **given)
    assert open_model(unchosen).description.temperature == 1.0
    assert unchosen.metrics["test"]["ece"] == unchosen.metrics["test"]["ece_untempered"]
    toy = features_toy(validation=True)
    chosen = retrain(toy, **given)
    model = open_model(chosen)
    assert model.description.temperature != 1.0
    assert chosen.metrics["validation"]["ece"] != chosen.metrics["validation"]["ece_untempered"]
    values = torch.from_numpy(np.array(open_features(store.get(toy.inputs["features"])).array()))
    with torch.inference_mode():
        said = torch.softmax(load_model(chosen)(values) / model.description.temperature, dim=1)
    np.testing.assert_allclose(model.predictions()["probs"].to_pylist(), said.numpy(), atol=1e-4)


def test_the_confusion_matrix_and_the_classes_are_of_the_rows_that_were_scored(features_toy: Any, retrain: Any) -> None:
    artifact = retrain(features_toy(validation=True), **QUICK)
    counts, classes = (pq.read_table(artifact.path(name)).to_pandas() for name in (CONFUSION, CLASSES))
    for split in ("validation", "test"):
        score, seen = artifact.metrics[split], counts[counts["split"] == split]
        assert seen["rows"].sum() == score["rows"] == classes[classes["split"] == split]["rows"].sum()
        right = seen[seen["label"] == seen["predicted_label"]]["rows"].sum()
        assert right / score["rows"] == pytest.approx(score["accuracy"])


def test_without_rows_to_score_there_is_no_confusion(
    make_annotations: Any, make_labels: Any, make_features: Any, retrain: Any
) -> None:
    artifact = retrain(small(make_annotations, make_labels, make_features, [0, 1], ["a", "b"]), **QUICK)
    assert CONFUSION not in {entry.path for entry in artifact.manifest.files}


def test_soft_targets_count_only_behind_an_open_gate(features_toy: Any, retrain: Any) -> None:
    soft = QUICK | {"cross_entropy": {"soft": True}}
    closed = features_toy(summary={"gate": {"open": False}})
    assert retrain(closed, **soft).metrics["targets"] == "hard"
    opened = retrain(features_toy(), **soft)
    assert opened.metrics["targets"] == "soft"
    hard = retrain(features_toy(), **QUICK)
    assert opened.path("model.safetensors").read_bytes() != hard.path("model.safetensors").read_bytes()


def test_a_loss_that_is_not_finite_is_a_clear_error(features_toy: Any, retrain: Any) -> None:
    with pytest.raises(ResourceError, match=r"the loss is (nan|inf)"):
        retrain(features_toy(), hidden=8, learning_rate=100, weight_decay=10, epochs=300, batch_size=32)


def test_labels_of_other_rows_are_refused(features_toy: Any, retrain: Any) -> None:
    toy, other = features_toy(), features_toy(count=100)
    mixed = type(toy)(toy.truth, toy.given, toy.split, {**toy.inputs, "features": other.inputs["features"]})
    with pytest.raises(ContractError, match="240 rows of the label table are not the 100 rows of the inputs"):
        retrain(mixed, **QUICK)


def test_no_row_to_learn_from_is_refused(features_toy: Any, retrain: Any) -> None:
    with pytest.raises(DataError, match="none of 240 rows can teach purified labels"):
        retrain(features_toy(action=["review"] * 240), review_rows="drop", **QUICK)


def small(make_annotations: Any, make_labels: Any, make_features: Any, given: list[int], names: list[str]) -> Any:
    from types import SimpleNamespace

    count, classes = len(given), len(names)
    values = np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32)
    beliefs = np.eye(classes)[given]
    inputs = {
        "annotations": make_annotations(given, names).ref,
        "labels": make_labels((given, given), beliefs, names).ref,
        "features": make_features(values).ref,
    }
    return SimpleNamespace(inputs=inputs)


@pytest.mark.parametrize(
    ("given", "names"),
    [([0], ["only"]), ([0, 0, 0], ["only"]), ([1], ["a", "b"]), ([0, 2, 0, 2], ["a", "missing", "c"])],
    ids=["one row", "one class", "one row of two classes", "a class without rows"],
)
def test_tiny_datasets_train(
    make_annotations: Any, make_labels: Any, make_features: Any, retrain: Any, given: list[int], names: list[str]
) -> None:
    toy = small(make_annotations, make_labels, make_features, given, names)
    artifact: Artifact = retrain(toy, **QUICK | {"epochs": 60})
    said = open_model(artifact).predictions()
    assert said["predicted_label"].to_pylist() == given
    assert artifact.metrics["test"] is None


def test_many_classes_are_predicted_without_all_probabilities(
    make_annotations: Any, make_labels: Any, make_features: Any, retrain: Any
) -> None:
    names = [f"class {i}" for i in range(101)]
    toy = small(make_annotations, make_labels, make_features, list(range(101)), names)
    said = open_model(retrain(toy, **QUICK)).predictions()
    assert "probs" not in said.column_names
    assert said["predicted_name"].to_pylist()[:2] != [None, None]
