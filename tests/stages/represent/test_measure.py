"""What is measured without labels while an encoder learns, and when it learned enough."""

import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts import Artifact, Ref
from pipeline.errors import InterruptedRunError
from pipeline.progress import read_progress
from stages.images.augmentation import Augmentation
from stages.represent.config import RepresentConfig
from stages.represent.measure import epochs_between, has_collapsed, learned_enough, watched
from stages.represent.options import SimclrOptions
from stages.represent.produce import produce
from stages.shell.stop import StopFlag

CONFIG = RepresentConfig(
    width=8, image_size=8, epochs=40, batch_size=16, optimizer="adamw", learning_rate=0.02, precision="full",
    augmentation=Augmentation(crop_scale=0.6, flip=False, colour=0.3),
    simclr=SimclrOptions(hidden_dim=16, projection_dim=8),
)  # fmt: skip
TARGET, OTHER = Ref(kind="encoders", key="e" * 32), Ref(kind="encoders", key="f" * 32)
MakeImages = Callable[[Sequence[np.ndarray | None]], Artifact]
RunStage = Callable[..., Artifact]


@pytest.fixture
def images(make_images: MakeImages) -> Artifact:
    random = np.random.default_rng(0)
    return make_images([random.integers(0, 255, (8, 8, 3), dtype=np.uint8) for _ in range(32)])


def test_figures_without_labels_stand_in_progress_and_artifact(
    images: Artifact, run_stage: RunStage, tmp_path: Path
) -> None:
    artifact = run_stage(CONFIG, produce, {"images": images.ref}, TARGET)
    measured = artifact.metrics["measured"]
    assert [record["epoch"] for record in measured] == list(range(4, 41, 4))
    assert all(record.keys() == {"epoch", "loss", "effective_rank", "alignment", "uniformity"} for record in measured)
    assert [record["loss"] for record in measured] == artifact.metrics["curve"][3::4]
    assert measured[-1]["effective_rank"] == artifact.metrics["effective_rank"]  # so few images are all measured
    shown = [line.metrics for line in read_progress(tmp_path / "work")[0] if line.phase == "train"]
    assert shown[-1].keys() == {"loss", "epoch", "rank", "alignment", "uniformity"}


def test_measuring_leaves_the_training_as_it_is(
    images: Artifact, run_stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = run_stage(CONFIG, produce, {"images": images.ref}, TARGET)
    monkeypatch.setattr("stages.represent.produce.epochs_between", lambda *_: 1000)
    plain = run_stage(CONFIG, produce, {"images": images.ref}, OTHER)
    assert plain.metrics["measured"] == []
    assert plain.manifest.files == measured.manifest.files


@pytest.mark.parametrize(("rows", "epochs"), [(60_000, 200), (50_000, 100), (1_000_000, 100), (10_000, 400)])
def test_measuring_costs_at_most_two_hundredths(rows: int, epochs: int) -> None:
    between = epochs_between(CONFIG.model_copy(update={"epochs": epochs}), rows)
    spent = 3 * watched(rows) / (2 * 3 * rows) / between  # forward passes of three and of two views, there and back
    assert spent <= 0.02
    assert 10 <= epochs // between <= 50
    assert watched(rows) == 1024


def test_a_plateau_is_neither_less_loss_nor_more_rank() -> None:
    def curve(losses: Sequence[float], ranks: Sequence[float]) -> list[dict[str, float]]:
        return [{"loss": loss, "effective_rank": rank} for loss, rank in zip(losses, ranks, strict=True)]

    flat, falling, rising = [2.0] * 6, [3.0, 2.8, 2.6, 2.4, 2.2, 2.0], [5.0, 6, 7, 8, 9, 10]
    assert learned_enough(curve(flat, [9.0] * 6), 3, 0.01)
    assert learned_enough(curve([-0.9, -0.92, -0.9, -0.91, -0.9, -0.91], [9.0] * 6), 3, 0.01)  # losses below zero too
    assert not learned_enough(curve(flat, [9.0] * 6), 0, 0.01)
    assert not learned_enough(curve(flat, [9.0] * 6), 4, 0.01)  # too early to tell
    assert not learned_enough(curve(falling, [9.0] * 6), 3, 0.01)
    assert not learned_enough(curve(flat, rising), 3, 0.01)
    assert learned_enough(curve(falling, rising), 3, 1.0)
    assert not learned_enough([{"loss": 2.0}] * 6, 3, 0.01)  # no rank was measured


def test_a_plateau_ends_the_training_and_a_stop_before_it_changes_nothing(
    images: Artifact, run_stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, stop = CONFIG.model_copy(update={"patience": 3, "plateau": 0.2}), StopFlag()
    whole = run_stage(config, produce, {"images": images.ref}, TARGET)
    assert 6 <= whole.metrics["epochs"] == len(whole.metrics["curve"]) < 40
    stop.request(signal.SIGTERM)
    monkeypatch.setattr(stop, "check", lambda: None)
    with pytest.raises(InterruptedRunError, match="a checkpoint is written"):
        run_stage(config, produce, {"images": images.ref}, OTHER, stop=stop)
    resumed = run_stage(config, produce, {"images": images.ref}, OTHER)
    assert resumed.manifest.files == whole.manifest.files
    assert resumed.metrics["measured"] == whole.metrics["measured"]


def test_what_counts_as_collapsed() -> None:
    assert has_collapsed(3.0, 512, 1024)
    assert not has_collapsed(60.0, 512, 1024)
    assert not has_collapsed(4.0, 512, 8)  # eight images span no more
    assert not has_collapsed(0.0, 512, 2)


def test_a_probe_is_shown_and_changes_nothing(
    images: Artifact, run_stage: RunStage, make_annotations: Callable[..., Artifact], tmp_path: Path
) -> None:
    config = CONFIG.model_copy(update={"probe": True})
    labels = make_annotations([-1] * 32, ["a", "b"], trusted=[0, 1, -1, 0] * 8)
    inputs, hints = {"images": images.ref}, {"annotations": labels.ref}
    probed = run_stage(config, produce, inputs, TARGET, hints=hints)
    shown = [line.metrics for line in read_progress(tmp_path / "work")[0] if line.phase == "train"][-1]
    assert 0 <= float(shown["probe"]) <= 1
    assert 0 <= float(shown["knn"]) <= 1
    plain = run_stage(CONFIG, produce, inputs, OTHER, hints=hints)
    shown = [line.metrics for line in read_progress(tmp_path / "work")[0] if line.phase == "train"][-1]
    assert "probe" not in shown  # off unless asked for
    assert probed.manifest.files == plain.manifest.files
    same = ("measured", "curve", "effective_rank")
    assert [probed.metrics[name] for name in same] == [plain.metrics[name] for name in same]
    assert probed.manifest.inputs == plain.manifest.inputs
    assert config.identity() == CONFIG.identity()


@pytest.mark.parametrize("trusted", [[-1] * 32, [0] + [-1] * 31, None], ids=["none", "one", "other images"])
def test_without_trusted_rows_there_is_nothing_to_show(
    images: Artifact, run_stage: RunStage, make_annotations: Callable[..., Artifact], tmp_path: Path,
    trusted: list[int] | None,
) -> None:  # fmt: skip
    config = CONFIG.model_copy(update={"probe": True, "epochs": 1})
    labels = make_annotations([0] * 8 if trusted is None else [-1] * 32, ["a", "b"], trusted=trusted or [0, 1] * 4)
    run_stage(config, produce, {"images": images.ref}, TARGET, hints={"annotations": labels.ref})
    assert all("probe" not in line.metrics for line in read_progress(tmp_path / "work")[0])
