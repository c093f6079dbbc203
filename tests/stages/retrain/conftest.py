"""Toy problems for retrain: classes that can be told apart, as features and as pictures."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from pipeline.artifacts import Artifact, Manifest, Ref, list_files
from pipeline.datasets.images import open_images
from pipeline.noise import inject
from pipeline.store import FileStore
from stages.images.decoding import decode_rows
from stages.networks.encoder import Encoder, EncoderDescription, save_encoder
from stages.retrain.config import RetrainConfig
from stages.retrain.produce import produce
from stages.training.loop import Loop

Retrain = Callable[..., Artifact]


@dataclass(frozen=True)
class Toy:
    """A problem with its truth, and the inputs of a request."""

    truth: NDArray[np.int64]
    given: NDArray[np.int64]
    split: list[str]
    inputs: Mapping[str, Ref]


@pytest.fixture
def features_toy(make_annotations: Any, make_labels: Any, make_features: Any) -> Callable[..., Toy]:
    """Make three clusters in eight dimensions, 30 % of the given labels wrong, a clean test split."""

    def make(count: int = 240, seed: int = 0, validation: bool = False, **labels: Any) -> Toy:
        rng = np.random.default_rng(seed)
        truth = rng.integers(3, size=count)
        centres = 2.0 * rng.normal(size=(3, 8))
        values = (centres[truth] + rng.normal(size=(count, 8))).astype(np.float32)
        place = np.arange(count) / count
        split = np.where(place < 0.6, "train", np.where((place < 0.8) & validation, "validation", "test"))
        wrong = (rng.random(count) < 0.3) & (split == "train")
        given = np.where(wrong, (truth + 1) % 3, truth)
        beliefs = np.full((count, 3), 0.05)
        beliefs[np.arange(count), truth] = 0.9
        trusted = np.arange(count) < 9
        action = np.where(split != "train", "none", np.where(wrong, "relabel", "keep"))
        action = np.where(trusted, "trusted", action)
        columns = {"split": split.tolist(), "action": action.tolist(), "trusted": trusted} | labels
        names = ["a", "b", "c"]
        known = np.where(trusted, truth, -1)
        inputs = {
            "annotations": make_annotations(given, names, split=split, trusted=known).ref,
            "labels": make_labels((given, truth), columns.pop("beliefs", beliefs), names, **columns).ref,
            "features": make_features(values).ref,
        }
        return Toy(truth, given, split.tolist(), inputs)

    return make


@pytest.fixture
def pictures_toy(store: FileStore, make_annotations: Any, make_labels: Any, make_images: Any) -> Toy:
    """Make pictures that are bright on the left or on the right; every third is a test row, one is broken."""
    rng = np.random.default_rng(0)
    truth = rng.integers(2, size=60)
    pictures: list[NDArray[np.uint8] | None] = []
    for label in truth:
        picture = rng.integers(0, 90, size=(8, 8, 3), dtype=np.uint8)
        picture[:, 4 * label : 4 * label + 4] += 150
        pictures.append(picture)
    pictures[5] = None
    split = ["test" if i % 3 == 2 else "train" for i in range(60)]
    beliefs = np.where(np.arange(2)[None, :] == truth[:, None], 0.9, 0.1)
    trusted = np.array([i < 9 and name == "train" for i, name in enumerate(split)])
    action = ["none" if name == "test" else "trusted" if t else "keep" for t, name in zip(trusted, split, strict=True)]
    columns, names = {"split": split, "action": action, "trusted": trusted}, ["left", "right"]
    inputs = {
        "annotations": make_annotations(truth, names, split=split, trusted=np.where(trusted, truth, -1)).ref,
        "labels": make_labels((truth, truth), beliefs, names, **columns).ref,
        "images": make_images(pictures).ref,
        "encoder": publish_encoder(store),
    }
    return Toy(truth, truth, split, inputs)


def publish_encoder(store: FileStore) -> Ref:
    torch.manual_seed(7)
    description = EncoderDescription(backbone="small_cnn", width=8, image_size=8, mean=(0.3,) * 3, std=(0.3,) * 3)
    with store.staging("encoders", "e") as folder:
        save_encoder(Encoder(description), folder)
        return store.publish(folder, Manifest(kind="encoders", key="e", files=list_files(folder))).ref


@pytest.fixture
def retrain(run_stage: Any) -> Retrain:
    """Run the stage, each time for another artifact."""
    number = iter(range(1_000_000))

    def run(toy: Toy, *, stop: Any = None, key: str = "", cache_gib: float | None = None, **config: Any) -> Artifact:
        target, knobs = Ref(kind="models", key=key or f"m{next(number)}"), RetrainConfig(**config)
        return run_stage(knobs, produce, dict(toy.inputs), target, stop=stop, cache_gib=cache_gib)  # type: ignore[no-any-return]

    return run


@pytest.fixture
def bytes_of() -> Callable[[Artifact], dict[str, bytes]]:
    """Read all files of an artifact."""
    return lambda artifact: {e.path: artifact.path(e.path).read_bytes() for e in artifact.manifest.files}


@pytest.fixture
def digits_toy(make_annotations: Any, make_labels: Any, make_features: Any) -> Callable[..., Toy]:
    """Take pixels of handwritten digits, half of the training labels wrong, five trusted rows a class, a clean test."""

    def make(rate: float = 0.5) -> Toy:
        digits = load_digits()
        truth = digits.target.astype(np.int64)
        count = len(truth)
        split = np.where(np.arange(count) % 4 == 3, "test", "train")
        given = np.where(split == "train", inject(truth, "symmetric", rate, 10, seed=1), truth)
        trusted = np.zeros(count, bool)
        for label in range(10):
            trusted[np.flatnonzero((truth == label) & (split == "train"))[:5]] = True
        beliefs = np.full((count, 10), rate / 9)
        beliefs[np.arange(count), given] = 1.0 - rate
        known = np.where(trusted, truth, -1)
        action = np.where(split != "train", "none", np.where(trusted, "trusted", "keep"))
        names = [str(label) for label in range(10)]
        columns = {"split": split.tolist(), "action": action.tolist(), "trusted": trusted}
        inputs = {
            "annotations": make_annotations(given, names, split=split, trusted=known).ref,
            "labels": make_labels((given, np.where(trusted, truth, given)), beliefs, names, **columns).ref,
            "features": make_features(digits.data.astype(np.float32)).ref,
        }
        return Toy(truth, given, split.tolist(), inputs)

    return make


@pytest.fixture
def stop_after() -> Callable[[int], AbstractContextManager[None]]:
    """Let the wish to stop come after some steps, inside a `with`."""

    @contextmanager
    def stopping(steps: int) -> Iterator[None]:
        taken = iter(range(1_000_000))
        step: Callable[..., Any] = Loop._step

        def counted(self: Any, *arguments: Any) -> Any:
            if next(taken) == steps:
                self._context.stop.request(15)
            return step(self, *arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Loop, "_step", counted)
            yield

    return stopping


@pytest.fixture
def pixels_of(store: FileStore) -> Callable[[Toy, int], torch.Tensor]:
    """Decode the first pictures of a toy as a network takes them, [n, 3, 8, 8]."""

    def decode(toy: Toy, count: int) -> torch.Tensor:
        pixels = decode_rows(open_images(store.get(toy.inputs["images"])), np.arange(count), 8)
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255

    return decode
