"""What a run gives back: small facts and paths, the same for `--json`, the terminal and the service."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from flows.quantities import count, counted
from flows.recipe import StageOutcome

HEADLINES = ("noise", "audit", "gate", "counts", "quality", "baselines", "features", "calibration_error")


@dataclass(frozen=True)
class CleanResult:
    """The result of one cleaning run."""

    run: str
    dataset: str
    seconds: float
    label_table: str
    report: str
    model: str | None
    artifacts: dict[str, dict[str, Any]]
    summary: dict[str, Any]
    test: dict[str, Any] | None
    published: dict[str, Any] | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def cached(self) -> bool:
        """Tell whether nothing had to be computed."""
        return all(bool(a["cached"]) for a in self.artifacts.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the one JSON object of `--json`."""
        fields = asdict(self)
        summary = fields.pop("summary")
        return {**fields, **{name: summary.get(name) for name in HEADLINES}, "cached": self.cached}


def describe(run: str, outcomes: Mapping[str, StageOutcome], seconds: float) -> CleanResult:
    """Put together what a user wants to know of a finished run."""
    data = outcomes["ingest"].artifact.metrics
    labels = outcomes["purify"].artifact
    model = outcomes["retrain"].artifact if "retrain" in outcomes else None
    noise = labels.metrics.get("noise") or {}
    return CleanResult(
        run=run,
        dataset=str(outcomes["ingest"].artifact.manifest.config["name"]),
        seconds=round(seconds, 2),
        label_table=str(labels.path("labels.parquet")),
        report=str(outcomes["report"].artifact.path("report.html")),
        model=str(model.path("model.safetensors")) if model else None,
        artifacts={
            o.artifact.manifest.kind: {"key": o.artifact.key, "cached": o.cached, "seconds": round(o.seconds, 2)}
            for o in outcomes.values()
        },
        summary={name: labels.metrics.get(name) for name in HEADLINES},
        test=dict(model.metrics).get("test") if model else None,
        warnings=[
            *unreadable(data),
            *data.get("warnings", []),
            *(outcomes["represent"].artifact.metrics.get("warnings", []) if "represent" in outcomes else []),
            *noise.get("warnings", []),
            *labels.metrics.get("warnings", []),
        ],
    )


def unreadable(data: Mapping[str, Any]) -> list[str]:
    """Say which images could not be read, and what became of their rows."""
    number, first = int(data.get("quarantined") or 0), list(data.get("quarantine") or [])
    if not number:
        return []
    rows = "its row is" if number == 1 else "their rows are"
    more = f" and {count(number - 3)} more" if number > 3 else ""
    return [f"{counted(number, 'image')} cannot be read; {rows} only to review: {'; '.join(first[:3])}{more}"]
