"""Things to look at in the Prefect UI: markdown and pictures; whatever happens to them, the work goes on."""

import base64
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.exceptions import PrefectHTTPStatusError
from prefect.runtime import flow_run
from prefect.utilities.urls import url_for

MAX_PICTURE = 200_000
BAR = 24


class Shown:
    """One thing to look at, made once and then kept up to date."""

    def __init__(self, key: str, description: str = "", kind: str = "markdown") -> None:
        self.key = key
        self._told = {"description": description, "type": kind}
        self._id: UUID | None = None

    def show(self, data: str) -> None:
        """Show it, or show it anew."""
        try:
            with get_client(sync_client=True) as client:
                if self._id is None:
                    run = UUID(str(flow_run.id)) if flow_run.id else None
                    made = client.create_artifact(
                        ArtifactCreate(key=self.key, data=data, flow_run_id=run, **self._told)
                    )
                    self._id = made.id
                else:
                    client.update_artifact(self._id, ArtifactUpdate(data=data))
        except (httpx.HTTPError, PrefectHTTPStatusError) as error:
            get_run_logger().debug("%s could not be shown: %s", self.key, error)


def show_picture(key: str, png: bytes, description: str) -> bool:
    """Show a picture that a page can hold; tell whether it was small enough."""
    uri = data_uri(png)
    if len(uri) <= MAX_PICTURE:
        Shown(key, description, "image").show(uri)
    return len(uri) <= MAX_PICTURE


def data_uri(png: bytes) -> str:
    """Write a picture so that it needs no server."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def bar(share: float) -> str:
    """Draw how far something is."""
    full = round(BAR * min(max(share, 0.0), 1.0))
    return f"`{'█' * full}{'░' * (BAR - full)}` {100 * min(max(share, 0.0), 1.0):.0f} %"


def table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Write a markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(plain(str(cell)) for cell in line) + " |" for line in lines)


def plain(text: str) -> str:
    """Keep a table's cells whole."""
    return text.replace("|", "\\|").replace("\n", " ")


def run_link(text: str, run: UUID | str) -> str:
    """Link to a flow run."""
    url = url_for("flow-run", obj_id=str(run))
    return f"[{text}]({url})" if url else text
