"""What was run: every artifact that the report stands on, from the data to the labels."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from pipeline.artifacts import Artifact
from pipeline.store import Store

NOT_SHOWN = frozenset({"shards"})
LONGEST_CONFIG = 4_000


@dataclass(frozen=True)
class Step:
    """One artifact and how it was made."""

    stage: str
    kind: str
    key: str
    method: str
    seconds: float | None
    megabytes: float
    config: str
    figures: str = ""  # what was measured of it without labels


def steps_behind(store: Store, inputs: Mapping[str, Artifact]) -> list[Step]:
    """List the inputs and all they were made from, the earliest first."""
    found: dict[str, Artifact] = {}

    def visit(artifact: Artifact) -> None:
        name = str(artifact.ref)
        if name in found or artifact.manifest.kind in NOT_SHOWN:
            return
        for ref in artifact.manifest.inputs.values():
            before = None if ref.kind in NOT_SHOWN else store.find(ref.kind, ref.key)
            if before is not None:  # an old one may have been collected
                visit(before)
        found[name] = artifact

    for name in sorted(inputs):
        visit(inputs[name])
    return [_step(artifact) for artifact in found.values()]


def _step(artifact: Artifact) -> Step:
    manifest = artifact.manifest
    config = json.dumps(without_folders(manifest.config), indent=1, ensure_ascii=False)
    seconds = manifest.metrics.get("seconds")
    return Step(
        stage=manifest.stage, kind=manifest.kind, key=manifest.key, method=manifest.method,
        seconds=float(seconds) if isinstance(seconds, int | float) else None,
        megabytes=manifest.size() / 1e6,
        config=config if len(config) <= LONGEST_CONFIG else config[:LONGEST_CONFIG] + "\n… (shortened)",
        figures=figures_of(manifest.metrics) if manifest.kind == "encoders" else "",
    )  # fmt: skip


def figures_of(metrics: Mapping[str, Any]) -> str:
    """Say how an encoder did without labels, as far as it was measured."""
    dim = metrics.get("dim")
    words = {
        "epochs": "{} epochs", "loss": "loss {:.4g}", "effective_rank": f"effective rank {{:.0f}} of {dim}",
        "alignment": "alignment {:.2f}", "uniformity": "uniformity {:.2f}",
    }  # fmt: skip
    return ", ".join(text.format(metrics[name]) for name, text in words.items() if name in metrics)


def without_folders(value: Any) -> Any:
    """Keep only the last part of absolute paths: a page that is passed on names no folders of the machine."""
    if isinstance(value, Mapping):
        return {key: without_folders(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(item) for item in value]
    if isinstance(value, str) and PurePath(value).is_absolute():
        return f"…/{PurePath(value).name}"
    return value
