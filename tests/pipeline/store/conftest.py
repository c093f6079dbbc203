"""Stores to test against: a folder, a real S3 service on loopback, fsspec's memory."""

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.artifacts import Artifact, Manifest, list_files
from pipeline.store import Store, open_store, utc_now

BUCKET = "bucket"


@pytest.fixture
def s3_environment(s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tester")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("PURIFLOW_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def s3_url(s3_environment: None) -> str:
    return f"s3://{BUCKET}/a prefix ü/{uuid.uuid4().hex}"


@pytest.fixture(params=["file", "s3", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    if request.param == "file":
        return open_store(str(tmp_path / "a störe"))
    if request.param == "s3":
        return open_store(request.getfixturevalue("s3_url"))
    monkeypatch.setenv("PURIFLOW_CACHE", str(tmp_path / "cache"))
    return open_store(f"memory://{uuid.uuid4().hex}/store")


Put = Callable[..., Artifact]


@pytest.fixture(scope="session")
def put() -> Put:
    """Publish a small artifact: put(store, kind, key, files, inputs=…, …)."""

    def publish(store: Store, kind: str, key: str, files: dict[str, bytes] | None = None, **fields: object) -> Artifact:
        with store.staging(kind, key) as folder:
            for name, content in (files or {"data.bin": b"content of " + key.encode()}).items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            inputs = {str(i): ref for i, ref in enumerate(fields.pop("of", ()))}  # type: ignore[arg-type,var-annotated]
            known = {"created": utc_now(), "inputs": inputs, **fields}
            return store.publish(folder, Manifest(kind=kind, key=key, files=list_files(folder), **known))  # type: ignore[arg-type]

    return publish
