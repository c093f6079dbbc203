"""`puriflow store`: what lies in a store, what it is made of, whether it is whole, what may go."""

import json
from pathlib import Path

import pytest

from flows.cli import main


def shown(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out)


def test_artifacts_are_listed_with_kind_key_size_and_age(finished, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "ls", "--store", finished.url]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:3]] == [["annotations", "a" * 32], ["labels", "b" * 32]]
    assert lines[1].endswith(" s")
    assert "2 artifacts" in lines[3]
    assert main(["store", "ls", "--store", finished.url, "--kind", "labels", "--json"]) == 0
    assert [a["key"] for a in shown(capsys)["artifacts"]] == ["b" * 32]


def test_lineage_goes_both_ways_and_takes_short_keys(finished, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "lineage", "labels/bb", "--store", finished.url]) == 0
    words = capsys.readouterr().out
    assert f"labels/{'b' * 32}" in words
    assert f"annotations: annotations/{'a' * 32}" in words
    assert main(["store", "lineage", "aaaa", "--store", finished.url, "--json"]) == 0
    assert shown(capsys)["made_of_it"] == [f"labels/{'b' * 32}"]


@pytest.mark.parametrize(("name", "message"), [("ccc", "has no artifact 'ccc'"), ("", "fits 2 artifacts")])
def test_a_key_that_fits_none_or_many_is_refused(
    name: str, message: str, finished, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["store", "lineage", name, "--store", finished.url]) == 2
    assert message in capsys.readouterr().err


def test_verify_finds_a_changed_file(finished, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "verify", "--store", finished.url]) == 0
    content = finished.annotations.path("content")
    content.chmod(0o644)
    content.write_text("z" * 32)
    assert main(["store", "verify", "--store", finished.url]) == 2
    words = capsys.readouterr().out
    assert "content has other content than the manifest says" in words
    assert "2 artifacts read" in words
    assert "1 of them faulty" in words


def test_what_is_damaged_goes_to_the_trash_when_told(finished, capsys: pytest.CaptureFixture[str]) -> None:
    finished.annotations.path("content").unlink()
    assert main(["store", "verify", "--store", finished.url]) == 2
    assert "content is missing" in capsys.readouterr().out
    assert main(["store", "verify", "--store", finished.url, "--discard", "--json"]) == 2
    assert shown(capsys)["discarded"] == [f"annotations/{'a' * 32}"]
    assert not (finished.store.root / "annotations" / ("a" * 32)).exists()
    assert len(list((finished.store.root / "trash").rglob("manifest.json"))) == 1
    assert main(["store", "verify", "--store", finished.url, "--discard"]) == 2  # its user lacks an input now
    assert "is gone" in capsys.readouterr().out
    assert finished.store.find("labels", "b" * 32) is not None


def test_tidying_is_a_dry_run_unless_told(finished, capsys: pytest.CaptureFixture[str]) -> None:
    leftover = finished.store.root / "checkpoints" / ("b" * 32) / "1" / "state"
    leftover.parent.mkdir(parents=True)
    leftover.write_text("12345")
    assert main(["store", "gc", "--store", finished.url]) == 0
    assert "1 thing would go (5 B); 2 artifacts stay" in capsys.readouterr().out
    assert leftover.exists()
    assert main(["store", "gc", "--store", finished.url, "--yes", "--json"]) == 0
    report = shown(capsys)
    assert (report["dry_run"], report["kept"], len(report["waste"])) == (False, 2, 1)
    assert not leftover.exists()


@pytest.mark.parametrize("command", [["ls"], ["verify"], ["gc"], ["lineage", "labels/1"]])
def test_a_store_that_is_not_there_is_a_mistake_and_is_not_made(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["store", *command, "--store", str(tmp_path / "nowhere")]) == 2
    assert "there is no store" in capsys.readouterr().err
    assert not (tmp_path / "nowhere").exists()


def test_a_store_in_memory_is_refused_because_stages_are_other_processes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "ls", "--store", "memory://here"]) == 2
    assert "seen by one process only" in capsys.readouterr().err
