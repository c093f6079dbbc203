"""What is refused as soon as the data are read, before anything is computed."""

from types import SimpleNamespace
from typing import Any

import pytest

from flows.document import CleanRequest
from flows.recipe import clean
from pipeline.errors import DataError


def request(method: str) -> CleanRequest:
    features = {"name": "toys", "kind": "features", "table": "rows.parquet", "features": "x.npy"}
    return CleanRequest.model_validate({"dataset": features, "purify": {"method": method}})


@pytest.mark.parametrize(("method", "trusted"), [("gold_correction", 0), ("trusted_only", 0), ("trusted_only", 5)])
def test_a_method_that_needs_trusted_rows_is_refused_before_any_work(method: str, trusted: int) -> None:
    asked = []

    def run_stage(stage: str, *_: Any) -> Any:
        asked.append(stage)
        if stage != "ingest":
            raise KeyboardInterrupt
        manifest = SimpleNamespace(inputs={"annotations": None, "features": None})
        return SimpleNamespace(artifact=SimpleNamespace(manifest=manifest, metrics={"trusted": trusted}))

    if trusted:
        with pytest.raises(KeyboardInterrupt):
            clean(request(method), run_stage)
        assert asked == ["ingest", "embed"]
        return
    words = f"dataset 'toys' has 0 trusted rows; {method} learns from .* 'confident_learning', which needs none"
    with pytest.raises(DataError, match=words) as refused:
        clean(request(method), run_stage)
    assert asked == ["ingest"]
    assert refused.value.exit_code == 2
