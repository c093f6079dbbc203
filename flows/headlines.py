"""The one figure of an artifact that a person wants to see behind its name."""

from collections.abc import Mapping
from typing import Any

from flows.quantities import count, percent
from pipeline.artifacts import Artifact


def headline(artifact: Artifact) -> str:
    """Say an artifact's main figures, as far as it measured them."""
    metrics = artifact.metrics
    match artifact.manifest.kind:
        case "datasets":
            return joined(figure(metrics, "rows", "{} rows", count), figure(metrics, "trusted", "{} trusted", count))
        case "encoders":
            used = figure(metrics, "effective_rank", f"effective rank {{}} of {metrics.get('dim')}", "{:.0f}".format)
            return joined(figure(metrics, "loss", "loss {}", "{:.4g}".format), used)
        case "neighbours":
            inexact = figure(metrics, "recall", "{} of the true neighbours", percent) if "cells" in metrics else ""
            return joined(figure(metrics, "rows", "{} rows", count), inexact)
        case "labels":
            return labels_headline(metrics)
        case "models":
            test = metrics.get("test") or {}
            return figure(test, "accuracy", f"{{}} right on test rows ({test.get('scored_on', '')} labels)", percent)
        case _:
            return ""


def labels_headline(metrics: Mapping[str, Any]) -> str:
    """Say how many labels changed and what the gate decided."""
    gate, audit = metrics.get("gate") or {}, metrics.get("audit") or {}
    return joined(
        figure(metrics.get("counts") or {}, "relabel", "{} relabelled", count),
        f"gate {'open' if gate.get('open') else 'closed'}: {gate['verdict']}" if "verdict" in gate else "",
        figure(audit, "suggested_right", "{} right on trusted rows", percent),
    )


def figure(metrics: Mapping[str, Any], name: str, text: str, write: Any) -> str:
    """Put one measured number into words; nothing where it was not measured."""
    value = metrics.get(name)
    return text.format(write(value)) if isinstance(value, int | float) else ""


def joined(*parts: str) -> str:
    """Join what there is."""
    return " · ".join(part for part in parts if part)
