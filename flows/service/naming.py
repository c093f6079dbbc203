"""Names that say what and when: of flow runs, and of the artifacts that they show."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from prefect.runtime import flow_run

NAMELESS = "a dataset without a name"


def run_name() -> str:
    """Name a flow run after its dataset and the time it began."""
    stage = str(flow_run.flow_name or "")
    what = dataset_in(flow_run.parameters) or f"run {flow_run.parameters.get('run') or NAMELESS}"
    when = f"{datetime.now().astimezone():%Y-%m-%d %H:%M}"
    return " · ".join(part for part in (what, "" if stage == "clean-dataset" else stage, when) if part)


def dataset_in(parameters: Mapping[str, Any]) -> str:
    """Find the name of the dataset in what a form says; the form may say anything."""
    dataset = parameters.get("dataset")
    return str(dataset.get("name") or "") if isinstance(dataset, Mapping) else ""


def artifact_name(*parts: str) -> str:
    """Name what is shown: Prefect allows small letters, digits and dashes."""
    return "-".join(re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") for part in parts)
