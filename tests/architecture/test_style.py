"""What STYLE asks for and no linter counts: sizes, names, and no pickle on any disk."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("pipeline", "stages", "flows")
FILE_LINES = 250
FUNCTION_LINES = 40
DEPTH = 3
LONG_FUNCTIONS: frozenset[str] = frozenset()  # "path:function", each with its reason beside it
VAGUE_NAMES = re.compile(r"(^|_)(utils?|helpers?|common|base|managers?|handlers?|misc)(_|$)")
PICKLE_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
PICKLE_CALLS = {"torch.save", "torch.load", "torch.jit.save", "torch.jit.load"}
HARMLESS = {"torch.load": ("weights_only", True)}  # with this argument nothing in the file is run
PICKLE_METHODS = {"to_pickle", "read_pickle", "dump_pickle", "load_pickle"}


def sources(*folders: str) -> Iterator[tuple[str, str]]:
    """Go through the Python files of some folders: path and text."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function's body, its docstring aside."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def pickles(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Find what would write or read pickle: line and expression."""
    safe = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call) and is_harmless(node)}
    for node in ast.walk(tree):
        if id(node) in safe:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)] if node.attr in PICKLE_METHODS or ast.unparse(node) in PICKLE_CALLS else []
            yield from ((node.lineno, name) for name in names)
            continue
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            if not (isinstance(node.value, ast.Constant) and node.value.value is False):
                yield node.value.lineno, "allow_pickle"
            continue
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.split(".")[0] in PICKLE_MODULES)


def is_harmless(call: ast.Call) -> bool:
    """Tell whether a call that could run a pickle is told not to."""
    name, value = HARMLESS.get(ast.unparse(call.func), ("", None))
    return any(k.arg == name and isinstance(k.value, ast.Constant) and k.value.value is value for k in call.keywords)


def test_no_file_is_long() -> None:
    files = sources(*PACKAGES, "tests", "benchmarks")
    long = {path: count for path, text in files if (count := len(text.splitlines())) > FILE_LINES}
    assert not long, f"files over {FILE_LINES} lines: split them by what they are about: {long}"


def test_no_function_is_long() -> None:
    long = {}
    for path, text in sources(*PACKAGES):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and body_lines(node) > FUNCTION_LINES:
                long[f"{path}:{node.name}"] = body_lines(node)
    assert set(long) == LONG_FUNCTIONS, f"functions over {FUNCTION_LINES} lines: {long}"


def test_no_folder_is_deep_and_no_name_is_vague() -> None:
    paths = [Path(path) for path, _ in sources(*PACKAGES)]
    assert not [str(path) for path in paths if len(path.parts) - 1 > DEPTH]
    assert not [str(path) for path in paths if any(VAGUE_NAMES.search(Path(part).stem) for part in path.parts)]


def test_nothing_pickles() -> None:
    found = [f"{path}:{line} {name}" for path, text in sources(*PACKAGES) for line, name in pickles(ast.parse(text))]
    assert not found, "tensors go into safetensors or .npy, tables into Parquet, the rest into JSON"


def test_the_search_for_pickle_finds_it() -> None:
    harmless = "np.load(f, allow_pickle=False); torch.load(f, weights_only=True)\n"
    code = harmless + "import pickle\ntorch.save(x, f)\nnp.load(f, allow_pickle=True)\nframe.to_pickle(f)\n"
    code += "torch.load(f)\ntorch.load(f, weights_only=False)\n"
    assert sorted(pickles(ast.parse(code))) == [
        (2, "pickle"), (3, "torch.save"), (4, "allow_pickle"), (5, "frame.to_pickle"), (6, "torch.load"),
        (7, "torch.load"),
    ]  # fmt: skip
