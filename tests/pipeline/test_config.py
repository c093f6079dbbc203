from typing import Literal

import pytest
from pydantic import Field, ValidationError

from pipeline.config import Config, MethodOptions, StageConfig, describe_faults


class Fast(MethodOptions):
    speed: int = 3


class Slow(MethodOptions):
    patience: float = 0.5


class Knobs(StageConfig):
    method: Literal["fast", "slow"] = "fast"
    seed: int = Field(0, ge=0)
    device: str = Field("cpu", json_schema_extra={"key": False})
    fast: Fast = Fast()
    slow: Slow = Slow()


def test_only_the_chosen_methods_options_count() -> None:
    assert Knobs().identity() == {"method": "fast", "seed": 0, "fast": {"speed": 3}}
    assert Knobs(slow=Slow(patience=9)).identity() == Knobs().identity()
    assert Knobs(fast=Fast(speed=4)).identity() != Knobs().identity()
    assert Knobs(method="slow").identity() == {"method": "slow", "seed": 0, "slow": {"patience": 0.5}}


def test_where_it_runs_does_not_count() -> None:
    assert Knobs(device="cuda").identity() == Knobs().identity()


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Knobs().seed = 1  # type: ignore[misc]


def test_unknown_keys_and_nan_are_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Knobs.model_validate({"sed": 1})
    with pytest.raises(ValidationError, match="finite number"):
        Slow(patience=float("nan"))


def test_faults_are_described_in_one_line_with_their_places() -> None:
    with pytest.raises(ValidationError) as caught:
        Knobs.model_validate({"seed": -1, "fast": {"speed": "x"}})
    text = describe_faults(caught.value)
    assert "seed: Input should be greater than or equal to 0; fast.speed: Input should be a valid integer" in text
    assert "\n" not in text


def test_a_config_without_methods_has_none_chosen() -> None:
    class Plain(StageConfig):
        size: int = 1

    assert Plain().chosen_method() == ""
    assert isinstance(Plain(), Config)
