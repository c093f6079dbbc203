"""The arrows of docs/architecture.md: pyproject.toml holds most of them, here are those that it cannot say."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PACKAGES = ("pipeline", "stages", "flows")
SCRIPTS = Path(sys.executable).parent


def imported_names(path: Path) -> Iterator[str]:
    """Name the modules, and the names in them, that a file imports anywhere."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new interpreter."""
    return subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)


def test_import_contracts_hold() -> None:
    result = subprocess.run(
        [SCRIPTS / "lint-imports", "--no-cache", "--no-logo"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert result.returncode == 0, result.stdout


def test_flows_take_only_the_knobs_from_stages() -> None:
    faults = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / "flows").rglob("*.py")
        for name in imported_names(path)
        if re.match(r"stages\b", name) and not re.fullmatch(r"stages\.\w+\.config(\.\w+)?", name)
    ]
    assert not faults


def test_nothing_imports_tests_or_benchmarks() -> None:
    outside = {"tests", "benchmarks"} | {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    faults = [
        f"{path.relative_to(ROOT)} imports {name}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for name in imported_names(path)
        if name.split(".")[0] in outside
    ]
    assert not faults


def test_every_imported_package_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    texts = [*project["dependencies"], *extras["s3"], *extras["onnx"]]
    declared = {canonicalize_name(Requirement(text).name) for text in texts}
    distributions = metadata.packages_distributions()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            tops = {name.split(".")[0] for name in imported_names(path)} - set(sys.stdlib_module_names) - set(PACKAGES)
            for top in tops:
                owners = {canonicalize_name(name) for name in distributions.get(top, [])}
                assert owners & declared, f"{path.relative_to(ROOT)} imports {top}, which pyproject.toml does not name"


@pytest.mark.parametrize("module", ["flows.recipe", "flows.cli"])
def test_recipe_and_command_line_import_neither_torch_nor_prefect(module: str) -> None:
    code = f"import sys, {module}; print([m for m in ('torch', 'lightly', 'faiss', 'prefect') if m in sys.modules])"
    result = python(code)
    assert result.stdout.strip() == "[]", result.stdout + result.stderr


def test_help_answers_within_a_second() -> None:
    """By processor time, which a busy machine does not stretch as it does the clock's."""
    seconds = []
    for _ in range(3):
        before = os.times()
        subprocess.run([SCRIPTS / "puriflow", "--help"], capture_output=True, check=True, cwd=ROOT)
        after = os.times()
        seconds.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(seconds) < 1.0, f"puriflow --help took {min(seconds):.2f} s at best"
