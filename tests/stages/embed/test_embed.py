"""embed: features that are copied or computed, and what their neighbours tell."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.artifacts import Artifact, Manifest, Ref, list_files
from pipeline.errors import DataError
from pipeline.features import open_features
from pipeline.keys import digest
from pipeline.neighbours import open_neighbours
from pipeline.store import FileStore
from stages.embed.config import EmbedConfig
from stages.embed.encode import EmbedRun
from stages.embed.produce import produce
from stages.networks.encoder import Encoder, EncoderDescription, save_encoder

MakeImages = Callable[[Sequence[np.ndarray | None]], Artifact]
MakeFeatures = Callable[[NDArray[np.float32]], Artifact]
RunStage = Callable[..., Artifact]
CONFIG = EmbedConfig(k=5, batch_size=16)


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), np.uint8))


def values(count: int, dim: int = 6, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


@pytest.fixture
def make_encoder(store: FileStore) -> Callable[[int], Artifact]:
    def make(seed: int) -> Artifact:
        torch.manual_seed(seed)
        description = EncoderDescription(backbone="small_cnn", width=8, image_size=8, mean=(0.5,) * 3, std=(0.3,) * 3)
        ref = Ref(kind="encoders", key=digest(seed))
        with store.staging(ref.kind, ref.key) as folder:
            save_encoder(Encoder(description), folder)
            return store.publish(folder, Manifest(kind=ref.kind, key=ref.key, files=list_files(folder)))

    return make


def embed(run_stage: RunStage, config: EmbedConfig = CONFIG, **inputs: Any) -> Artifact:
    """Run embed; `more` goes to the runner, all else are input artifacts."""
    more = inputs.pop("more", {})
    refs = {name: artifact.ref for name, artifact in inputs.items()}
    key = digest([config.identity(), {name: ref.key for name, ref in refs.items()}, str(more.get("hints"))])
    return run_stage(config, produce, refs, Ref(kind="neighbours", key=key), **more)


def features_of(artifact: Artifact) -> Artifact:
    return artifact.store.get(artifact.manifest.inputs["features"])


def test_images_become_features_by_the_encoder(
    make_images: MakeImages, make_encoder: Callable[[int], Artifact], run_stage: RunStage
) -> None:
    encoder = make_encoder(0)
    artifact = embed(run_stage, images=make_images([*pictures(20), None]), encoder=encoder)
    features = open_features(features_of(artifact))
    torch.manual_seed(0)
    network = Encoder(EncoderDescription.model_validate_json(encoder.path("encoder.json").read_bytes())).eval()
    with torch.inference_mode():
        expected = network(torch.from_numpy(np.stack(pictures(20))).permute(0, 3, 1, 2) / 255).numpy()
    assert np.allclose(features.array()[:20], expected, rtol=1e-2, atol=1e-3)
    assert (features.array()[20] == 0).all()
    assert features.ok.tolist() == [True] * 20 + [False]
    assert features.rows["reason"][20].as_py() == "empty: 0 bytes"
    assert (artifact.metrics["computed"], artifact.metrics["copied"]) == (20, 0)


def test_a_dataset_that_grows_by_one_percent_computes_one_percent(
    make_images: MakeImages, make_encoder: Callable[[int], Artifact], run_stage: RunStage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    encoder, old = make_encoder(0), pictures(200)
    grown = [*old[:50], None, pictures(2, seed=7)[0], *old[50:][::-1], pictures(2, seed=7)[1]]
    before = embed(run_stage, images=make_images(old), encoder=encoder)
    encoded: list[int] = []
    encode = EmbedRun._encode

    def count(run: EmbedRun, network: Encoder, pixels: NDArray[np.uint8], device: torch.device) -> Any:
        encoded.append(len(pixels))
        return encode(run, network, pixels, device)

    monkeypatch.setattr(EmbedRun, "_encode", count)
    images = make_images(grown)
    after = embed(run_stage, images=images, encoder=encoder, more={"hints": {"previous": before.ref}})
    assert sum(encoded) == after.metrics["computed"] == 2
    assert after.metrics["copied"] == 200
    incremental = open_features(features_of(after)).array().astype(np.float32)
    images.store.remove(f"features/{features_of(after).key}")
    fresh = embed(run_stage, images=images, encoder=encoder)
    assert fresh.metrics["computed"] == 202
    assert np.allclose(incremental, open_features(features_of(fresh)).array().astype(np.float32), rtol=1e-3, atol=1e-4)


def test_features_of_another_encoder_or_another_recipe_are_not_copied(
    make_images: MakeImages, make_encoder: Callable[[int], Artifact], run_stage: RunStage
) -> None:
    images = make_images(pictures(10))
    before = embed(run_stage, images=images, encoder=make_encoder(0))
    hint = {"hints": {"previous": before.ref}}
    assert embed(run_stage, images=images, encoder=make_encoder(1), more=hint).metrics["copied"] == 0
    averaged = CONFIG.model_copy(update={"flip_average": True})
    assert embed(run_stage, averaged, images=images, encoder=make_encoder(0), more=hint).metrics["copied"] == 0


def test_other_neighbours_of_the_same_images_use_the_features_that_are_there(
    make_images: MakeImages, make_encoder: Callable[[int], Artifact], run_stage: RunStage
) -> None:
    images, encoder = make_images(pictures(10)), make_encoder(0)
    first = embed(run_stage, images=images, encoder=encoder)
    second = embed(run_stage, CONFIG.model_copy(update={"k": 3}), images=images, encoder=encoder)
    assert features_of(first).ref == features_of(second).ref
    assert open_neighbours(second).k == 3


def test_a_mirror_average_does_not_tell_an_image_from_its_mirror_image(
    make_images: MakeImages, make_encoder: Callable[[int], Artifact], run_stage: RunStage
) -> None:
    images = make_images([p for one in pictures(5) for p in (one, np.ascontiguousarray(one[:, ::-1]))])
    artifact = embed(
        run_stage, CONFIG.model_copy(update={"flip_average": True}), images=images, encoder=make_encoder(0)
    )
    rows = open_features(features_of(artifact)).array()
    assert np.allclose(rows[::2], rows[1::2], atol=1e-3)


def test_brought_features_are_taken_as_they_are_and_rerun_to_the_same_bytes(
    make_features: MakeFeatures, run_stage: RunStage
) -> None:
    features = make_features(values(60))
    artifact = embed(run_stage, features=features)
    assert artifact.manifest.inputs["features"].key == features.key
    files = artifact.manifest.files
    assert {f.path for f in files} == {"neighbours.npy", "similarity.npy", "evidence.parquet", "centre.npy"}
    features.store.remove(f"neighbours/{artifact.key}")
    assert embed(run_stage, features=features).manifest.files == files


def test_copies_and_near_copies_are_told_from_whom(make_features: MakeFeatures, run_stage: RunStage) -> None:
    rows = values(40)
    rows[30], rows[31], rows[39] = rows[3], rows[3] * (1 + 1e-6), rows[30]
    neighbours = open_neighbours(embed(run_stage, features=make_features(rows)))
    expected = [None] * 40
    expected[30] = expected[31] = expected[39] = "s0003"
    assert neighbours.duplicate_of.tolist() == expected


def test_a_stranger_scores_highest(make_features: MakeFeatures, run_stage: RunStage) -> None:
    directions = np.eye(6, dtype=np.float32)
    rows = np.concatenate([directions[i % 2] + 0.1 * values(1, seed=i) for i in range(40)] + [5 * directions[5:]])
    neighbours = open_neighbours(embed(run_stage, features=make_features(rows)))
    assert int(neighbours.outlier_score.argmax()) == 40
    assert 0 <= float(neighbours.outlier_score.min()) < float(neighbours.outlier_score.max()) <= 1


def test_broken_rows_have_no_neighbours_and_are_nobody_s(make_features: MakeFeatures, run_stage: RunStage) -> None:
    rows = values(30)
    rows[[0, 11, 29]] = np.nan
    neighbours = open_neighbours(embed(run_stage, features=make_features(rows)))
    broken = np.isin(np.arange(30), [0, 11, 29])
    assert (neighbours.indices[broken] == -1).all()
    assert (neighbours.similarity[broken] == 0).all()
    assert np.isnan(neighbours.outlier_score).tolist() == broken.tolist()
    assert not np.isin(neighbours.indices[~broken], [-1, 0, 11, 29]).any()


def test_fewer_rows_than_neighbours_leave_places_empty(make_features: MakeFeatures, run_stage: RunStage) -> None:
    neighbours = open_neighbours(embed(run_stage, features=make_features(values(3))))
    assert neighbours.indices.shape == (3, 5)
    assert (neighbours.indices[:, :2] >= 0).all()
    assert (neighbours.indices[:, 2:] == -1).all()
    assert (neighbours.similarity[:, 2:] == 0).all()


def test_a_single_row_has_no_neighbours(make_features: MakeFeatures, run_stage: RunStage) -> None:
    artifact = embed(run_stage, features=make_features(values(1)))
    neighbours = open_neighbours(artifact)
    assert (neighbours.indices == -1).all()
    assert neighbours.outlier_score.tolist() == [0.0]
    assert neighbours.duplicate_of.tolist() == [None]
    assert artifact.metrics["mean_similarity"] == 0.0


@pytest.mark.parametrize("scale", [0.0, 1e-20, 1.0, 1e20])
def test_flat_tiny_and_huge_features_give_numbers(
    make_features: MakeFeatures, run_stage: RunStage, scale: float
) -> None:
    rows = np.tile(values(20, 2), 4) * np.float32(scale)  # rank 2 in 8 columns
    artifact = embed(run_stage, features=make_features(rows))
    neighbours = open_neighbours(artifact)
    assert np.isfinite(neighbours.similarity).all()
    assert np.isfinite(neighbours.outlier_score).all()
    assert ((neighbours.similarity == 0).all()) == (scale == 0.0)


def test_a_dataset_without_any_features_is_refused(make_features: MakeFeatures, run_stage: RunStage) -> None:
    with pytest.raises(DataError, match="none of the 4 rows has features"):
        embed(run_stage, features=make_features(np.full((4, 3), np.nan, np.float32)))


def test_the_batch_size_is_not_hashed() -> None:
    assert CONFIG.identity() == CONFIG.model_copy(update={"batch_size": 1}).identity()
