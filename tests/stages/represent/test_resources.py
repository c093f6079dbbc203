"""represent with less disk, or a compiler: what must not change the encoder, and what is said where it cannot be."""

import signal
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from pipeline.artifacts import Artifact, Ref
from pipeline.errors import InterruptedRunError
from stages.images.augment import augment
from stages.networks import compiling
from stages.represent import produce as module
from stages.represent.config import RepresentConfig, SimclrOptions
from stages.represent.produce import produce
from stages.shell.stop import StopFlag

CONFIG = RepresentConfig(
    width=8, image_size=8, epochs=3, batch_size=16, optimizer="adamw", learning_rate=0.05, precision="full",
    simclr=SimclrOptions(hidden_dim=16, projection_dim=8),
)  # fmt: skip
RunStage = Callable[..., Artifact]


@pytest.fixture
def images(make_images: Callable[..., Artifact]) -> Artifact:
    return make_images(list(np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)))


def represent(run_stage: RunStage, images: Artifact, key: str = "e", **more: Any) -> Artifact:
    target = Ref(kind="encoders", key=key * 32)
    return run_stage(more.pop("config", CONFIG), produce, {"images": images.ref}, target, **more)


def interrupt(run_stage: RunStage, images: Artifact, monkeypatch: pytest.MonkeyPatch, **more: Any) -> None:
    """Stop a training after its third step, with a checkpoint."""
    stop, steps = StopFlag(), []

    def augment_and_stop(*inputs: Any) -> torch.Tensor:
        steps.append(1)
        if len(steps) == 3:
            stop.request(signal.SIGTERM)
        return augment(*inputs)

    with monkeypatch.context() as patched:
        patched.setattr(module, "augment", augment_and_stop)
        with pytest.raises(InterruptedRunError, match="a checkpoint is written"):
            represent(run_stage, images, stop=stop, **more)


def test_images_decoded_on_the_way_make_the_same_encoder_stopped_or_not(
    images: Artifact, run_stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(run_stage, images, monkeypatch, cache_gib=0)
    streamed = represent(run_stage, images, cache_gib=0)
    cached = represent(run_stage, images, "f")
    assert streamed.manifest.files == cached.manifest.files
    assert streamed.metrics["curve"] == cached.metrics["curve"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # of torch's compiler, which hides it elsewhere
def test_a_compiled_training_goes_on_uncompiled_to_the_same_encoder(
    images: Artifact, run_stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    interrupt(run_stage, images, monkeypatch, config=CONFIG.model_copy(update={"compile": True}))
    resumed, plain = represent(run_stage, images), represent(run_stage, images, "f")
    assert resumed.manifest.files == plain.manifest.files


def test_without_a_compiler_the_training_goes_on_and_says_so(
    images: Artifact, run_stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "why_not", lambda _: "no compiler")
    compiled = represent(run_stage, images, config=CONFIG.model_copy(update={"compile": True, "epochs": 1}))
    said = "represent.compile has no effect here: no compiler. The training was not compiled."
    assert said in compiled.metrics["warnings"]


def test_compile_and_recompute_exclude_each_other_and_neither_is_hashed() -> None:
    with pytest.raises(ValidationError, match="compile and recompute exclude each other"):
        RepresentConfig(compile=True, recompute=True)
    assert RepresentConfig(compile=True).identity() == RepresentConfig().identity()
