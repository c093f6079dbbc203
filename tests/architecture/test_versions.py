"""No method's source changes without a decision whether its output does; `make versions` records the decision.

For each method, versions.json holds its METHOD_VERSION and a digest of the sources that decide its output: everything
its stage program imports from stages/ and pipeline/, and its templates. Left out are the knobs (every key holds their
values), the other methods, what only carries data, and comments, docstrings and layout.
"""

import ast
import hashlib
import importlib
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pipeline.keys import SHELL_VERSION

ROOT = Path(__file__).parents[2]
RECORD = Path(__file__).with_name("versions.json")
CARRIERS = re.compile(
    r"pipeline\.(errors|config|keys|artifacts|requests|progress|store)\b|stages\.shell\b|.*\.(config|options)$"
)
PLUMBING = re.compile(r"pipeline\.(errors|requests|progress|store)\b")  # what the shell uses to carry
TEMPLATES = {".j2", ".css", ".js"}
IGNORED_FIELDS = {"type_params", "type_comment", "kind"}  # these differ between versions of Python

Record = dict[str, dict[str, dict[str, Any]]]


def module_path(name: str) -> Path | None:
    """Find the source of one of our modules."""
    path = ROOT / name.replace(".", "/")
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.exists()), None)


def imports(tree: ast.AST) -> Iterator[str]:
    """Name our modules that a source imports, with the packages they lie in."""
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    for name in names:
        if name.split(".")[0] in ("stages", "pipeline"):
            parts = name.split(".")
            yield from (".".join(parts[:n]) for n in range(1, len(parts) + 1))


def normalised(node: Any) -> Any:
    """Turn a syntax tree into JSON without positions and docstrings, the same under every Python we support."""
    if isinstance(node, list):
        return [normalised(item) for item in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {
        name: value for name, value in ast.iter_fields(node) if name not in IGNORED_FIELDS and value not in (None, [])
    }
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node):
        fields["body"] = node.body[1:]
    return [type(node).__name__, {name: normalised(value) for name, value in fields.items()}]


@cache
def read_source(source: bytes) -> tuple[Any, tuple[str, ...]]:
    """Return a source in its normal form, and the modules it imports."""
    tree = ast.parse(source)
    return normalised(tree), tuple(imports(tree))


def source_digest(starts: list[str], left_out: re.Pattern[str]) -> str:
    """Hash the sources of some modules and of all they import, and the templates beside the first."""
    folder = ROOT / Path(*starts[0].split(".")[:-1])
    seen: dict[str, Any] = {p.name: p.read_text(encoding="utf-8") for p in folder.glob("*.*") if p.suffix in TEMPLATES}
    pending = list(starts)
    while pending:
        name = pending.pop()
        path = module_path(name)
        if name in seen or path is None or (left_out.fullmatch(name) or left_out.match(f"{name}.")):
            continue
        seen[name], further = read_source(path.read_bytes())
        pending.extend(further)
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()[:16]


def stage_names() -> list[str]:
    """Name the stages that have knobs."""
    return sorted(path.parent.name for path in (ROOT / "stages").glob("*/config.py"))


@cache
def current() -> Record:
    """Describe the methods as they are now."""
    result: Record = {
        "shell": {"": {"version": SHELL_VERSION, "digest": source_digest(["stages.shell.run"], PLUMBING)}}
    }
    for stage in stage_names():
        knobs = vars(importlib.import_module(f"stages.{stage}.config"))
        versions = knobs["VERSIONS"]
        always = knobs.get("BASELINES", ())  # these run beside every method
        further = {name: number for name, number in knobs.items() if name.endswith("_VERSION")}
        result[stage] = {}
        for method, version in versions.items():
            others = "|".join(
                rf"stages\.{stage}\.methods\.{other}\b" for other in versions if other not in {method, *always}
            )
            left_out = re.compile(f"{CARRIERS.pattern}|{others}" if others else CARRIERS.pattern)
            starts = [f"stages.{stage}.__main__", f"stages.{stage}.methods.{method}"]
            result[stage][method] = {"version": version, "digest": source_digest(starts, left_out), **further}
    return result


def fault(stage: str, method: str, found: dict[str, Any]) -> str:
    """Say what is undecided about one method ('' where nothing is)."""
    recorded = json.loads(RECORD.read_text(encoding="utf-8")).get(stage, {}).get(method)
    where = "SHELL_VERSION in pipeline/keys.py" if stage == "shell" else f"VERSIONS in stages/{stage}/config.py"
    where = where.replace(" in", "".join(f" (or {name})" for name in found if name.endswith("_VERSION")) + " in")
    if recorded is None:
        return f"{stage} '{method}' is new: run `make versions`"
    if found["version"] < recorded["version"]:
        return f"{stage} '{method}' went back from version {recorded['version']} to {found['version']}: raise {where}"
    if found != recorded:
        return (
            f"the source of {stage} '{method}' changed: raise {where} if the output changes, then run `make versions`"
        )
    return ""


@pytest.mark.parametrize("stage", stage_names())
def test_every_stage_is_a_program(stage: str) -> None:
    assert module_path(f"stages.{stage}.__main__")


@pytest.mark.parametrize("stage", ["shell", *stage_names()])
def test_somebody_decided_whether_the_output_of_changed_methods_changed(stage: str) -> None:
    faults = [fault(stage, method, found) for method, found in current()[stage].items()]
    assert not any(faults), "\n".join(f for f in faults if f)


def test_layout_comments_and_docstrings_do_not_count() -> None:
    one = ast.parse('"""One."""\ndef f(x):\n    """Add."""\n    return x + 1  # why\n')
    two = ast.parse('"""Two."""\n\n\ndef f(x):\n    return (x\n            + 1)\n')
    assert normalised(one) == normalised(two)
    assert normalised(one) != normalised(ast.parse("def f(x):\n    return x + 2\n"))


def test_a_method_does_not_count_for_its_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "stages" / "s" / "methods"
    folder.mkdir(parents=True)
    (tmp_path / "stages/s/core.py").write_text("from stages.s.methods import a, b")
    (folder / "a.py").write_text("x = 1")
    (folder / "b.py").write_text("y = 1")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    without_b = re.compile(r"stages\.s\.methods\.b\b")
    before = source_digest(["stages.s.core"], without_b)
    (folder / "b.py").write_text("y = 2")
    assert source_digest(["stages.s.core"], without_b) == before
    (folder / "a.py").write_text("x = 2")
    assert source_digest(["stages.s.core"], without_b) != before


if __name__ == "__main__":
    before = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    now = current()
    for stage, methods in now.items():
        for method, found in methods.items():
            old = before.get(stage, {}).get(method)
            if old and old != found:
                same = old["version"] == found["version"]
                decision = f"version {found['version']} stays: same output" if same else f"version {found['version']}"
                print(f"{stage} {method}: {decision}")
    RECORD.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n", encoding="utf-8")
