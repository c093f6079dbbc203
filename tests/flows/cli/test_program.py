"""The border of the program: help, examples, errors as messages, JSON and exit codes."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from flows.cli import main
from flows.cli.program import app, as_ours

COMMANDS = (
    "demo", "init", "plan", "clean", "stage", "publish", "noise", "doctor", "up", "deploy", "compare",
    "review start", "review next", "review import", "review export",
    "labels show", "labels schema", "labels diff", "labels export",
    "store ls", "store lineage", "store verify", "store gc",
)  # fmt: skip


def test_help_answers_in_under_a_second() -> None:
    program = [sys.executable, "-c", "import sys; from flows.cli import main; sys.exit(main())", "--help"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "puriflow demo" in done.stdout
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent < 1, "seconds of one core; other work on this machine does not count"


def test_the_command_line_imports_nothing_heavy() -> None:
    code = "import sys, flows.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "prefect", "pyarrow", "pandas", "sklearn", "fsspec", "PIL"} & set(loaded)


def test_every_command_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert all(name.split()[0] in shown for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_and_json(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*name.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"Example:  puriflow {name}" in shown
    assert "--json" in shown


def test_no_command_was_forgotten_above() -> None:
    top = [c.name for c in app.registered_commands]
    below = [f"{g.typer_instance.info.name} {c.name or c.callback.__name__}"
             for g in app.registered_groups for c in g.typer_instance.registered_commands]  # fmt: skip
    assert sorted(top + below) == sorted(COMMANDS)


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    from importlib.metadata import version

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"puriflow {version('puriflow')}\n"


def test_a_mistyped_key_and_a_mistyped_value_get_a_line_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = tmp_path / "clean.yaml"
    document.write_text(
        "dataset: {name: d, kind: image_folder, path: pics}\npurify: {metod: knn}\nretrain: {labels: purifed}\n"
    )
    assert main(["clean", str(document)]) == 2
    message = capsys.readouterr().err
    assert "purify.metod: unknown key (did you mean 'method'?)" in message
    assert "retrain.labels = 'purifed': must be one of purified, given, both (did you mean 'purified'?)" in message
    assert "Traceback" not in message


def test_a_mistake_is_one_json_object_with_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(tmp_path / "nowhere.yaml"), "--json"]) == 2
    shown = capsys.readouterr()
    error = json.loads(shown.out)["error"]
    assert error["code"] == "config"
    assert error["exit_code"] == 2
    assert "nowhere.yaml" in error["message"]
    assert "puriflow init" in error["remedy"]


@pytest.mark.parametrize("arguments", [["plan"], ["clean", "a.yaml", "--nope"], ["cleen"], ["store"]])
def test_a_wrong_call_is_a_users_mistake(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, "--json"]) == 2
    shown = capsys.readouterr()
    assert "--help" in json.loads(shown.out)["error"]["remedy"]
    assert shown.err.startswith("error: ")


def test_ctrl_c_and_our_own_faults_have_their_own_exit_codes() -> None:
    assert as_ours(KeyboardInterrupt()).exit_code == 130
    assert as_ours(typer.Abort()).exit_code == 130
    assert as_ours(ZeroDivisionError("division by zero")).exit_code == 1


def test_a_reader_that_went_away_is_no_fault() -> None:
    program = f"{sys.executable} -c 'import sys; from flows.cli import main; sys.exit(main())' labels schema | true"
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""
