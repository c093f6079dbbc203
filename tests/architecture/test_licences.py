"""The licences that DESIGN allows: permissive for what puriflow needs directly, nothing GPL-only behind it."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
NOTICE = (ROOT / "NOTICE").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PERMITTED = re.compile(r"\b(MIT|BSD|0BSD|Apache|ISC|PSF|Python Software Foundation|HPND|MIT-CMU)\b", re.IGNORECASE)
ALSO_INSIDE = re.compile(r"\b(Zlib|CC0|BSL)\b", re.IGNORECASE)  # parts bundled by torch and numpy, as permissive
COPYLEFT = re.compile(r"\b(A?GPL|Affero|GNU General Public)\b", re.IGNORECASE)


def licence(name: str) -> str:
    """Read a package's licence from its metadata: the SPDX expression, else the classifiers, else the free text."""
    found = metadata.metadata(name)
    if "License-Expression" in found:
        return found["License-Expression"]
    classifiers = [c.split("::")[-1].strip() for c in found.get_all("Classifier") or [] if c.startswith("License")]
    return " OR ".join(classifiers) or (found["License"].strip().splitlines()[0] if "License" in found else "")


def here(texts: list[str], extras: set[str]) -> list[Requirement]:
    """Read requirements; keep those that count on this system with these extras."""
    found = [Requirement(text) for text in texts]
    return [r for r in found if r.marker is None or any(r.marker.evaluate({"extra": e}) for e in extras | {""})]


DIRECT = here(
    [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["s3"], *PROJECT["optional-dependencies"]["onnx"]],
    set(),
)
DIRECT_NAMES = sorted(canonicalize_name(r.name) for r in DIRECT)


def run_time_dependencies() -> set[str]:
    """Name everything that an installation of puriflow[s3,onnx] brings."""
    found: set[str] = set()
    pending = list(DIRECT)
    while pending:
        requirement = pending.pop()
        name = canonicalize_name(requirement.name)
        if name not in found:
            found.add(name)
            pending += here(metadata.requires(name) or [], requirement.extras)
    return found


@pytest.mark.parametrize("name", DIRECT_NAMES)
def test_direct_dependencies_are_permissive(name: str) -> None:
    parts = [part for part in re.split(r" AND | OR |[()]", licence(name)) if part.strip()]
    assert parts, f"{name} names no licence"
    assert all(PERMITTED.search(part) or ALSO_INSIDE.search(part) for part in parts), f"{name} is {licence(name)}"


@pytest.mark.parametrize("name", DIRECT_NAMES)
def test_notice_names_every_direct_dependency(name: str) -> None:
    assert re.search(rf"^{re.escape(name)} +\S", NOTICE, re.MULTILINE), f"NOTICE has no row for {name}: {licence(name)}"


def test_nothing_behind_them_is_gpl_only() -> None:
    for name in run_time_dependencies():
        offers = [part for part in re.split(r" OR ", licence(name)) if part]
        assert not offers or not all(COPYLEFT.search(part) for part in offers), f"{name} is {licence(name)}"


def test_notice_names_the_run_time_packages_of_nvidia() -> None:
    missing = [name for name in run_time_dependencies() if name.startswith("nvidia-") and name not in NOTICE]
    assert not missing
