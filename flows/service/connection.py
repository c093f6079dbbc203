"""A client of the server that is named, whatever this machine's own settings of Prefect say."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.errors import StoreError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

API_ENV = "PREFECT_API_URL"


@contextmanager
def connected(settings: Mapping[str, str]) -> "Iterator[SyncPrefectClient]":
    """Connect with these settings; say what to do where nobody answers."""
    os.environ |= settings  # before Prefect is first imported: it reads them once
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError

    api = settings.get(API_ENV, os.environ.get(API_ENV, ""))
    try:
        with get_client(sync_client=True) as client:
            yield client
    except PrefectHTTPStatusError as error:
        raise StoreError(f"the server at {api} refused: {error}", remedy_for(error.response.status_code)) from error
    except httpx.HTTPError as error:
        raise StoreError(
            f"no Prefect server answers at {api} ({type(error).__name__}).", "Start one: `puriflow up`."
        ) from error


def remedy_for(status: int) -> str:
    """Say what to do about a refusal."""
    if status in (401, 403):
        return "Set PREFECT_API_AUTH_STRING=user:password in the environment."
    return "Its version may not fit: `puriflow doctor` tells."
