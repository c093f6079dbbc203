"""Artifact keys: what a stage would compute, said in a hash, before anything is computed."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SHELL_VERSION = 1
KEY_LENGTH = 32


def canonical_json(value: Any) -> str:
    """Write JSON in the one form that equal values share (sorted keys, no spaces, no NaN)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """Hash any JSON value to a key."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:KEY_LENGTH]


def artifact_key(stage: str, version: int, config: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """Name the artifact of a stage: stage, versions, the configuration that matters, and its inputs' keys."""
    return digest([stage, SHELL_VERSION, version, dict(config), dict(inputs)])


def file_sha256(path: Path) -> str:
    """Hash a file without reading it into memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json_file(path: Path) -> dict[str, Any] | None:
    """Read a JSON object from a file; None where there is none or it is not whole."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
