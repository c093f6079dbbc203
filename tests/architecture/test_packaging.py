"""What is installed: constraints.txt pins everything, and a wheel holds what the code reads beside itself."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LINES = [
    line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if line[:1] not in ("", "#")
]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PINS = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in LINES}


def test_every_line_is_a_name_and_a_version() -> None:
    assert not [line for line in LINES if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line)]
    assert len(PINS) == len(LINES)


def test_every_declared_dependency_is_pinned_within_its_range() -> None:
    project = PYPROJECT["project"]
    texts = [*project["dependencies"], *(t for extra in project["optional-dependencies"].values() for t in extra)]
    for requirement in map(Requirement, texts):
        version = PINS.get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} is not pinned"
        assert version in requirement.specifier, f"{requirement} does not allow the pinned {version}"


def test_every_file_beside_the_code_is_in_the_wheel() -> None:
    for package, patterns in PYPROJECT["tool"]["setuptools"]["package-data"].items():
        packed = {path for pattern in patterns for path in (ROOT / package).glob(pattern)}
        files = {p for p in (ROOT / package).rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")}
        assert files == packed
