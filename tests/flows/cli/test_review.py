"""`puriflow review`: what is refused before any stage runs."""

from pathlib import Path

import pytest

from flows.cli import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["next", "pets", "--n", "0"], "greater than or equal to 1"),
        (["next", "pets", "--method", "luck"], "the options do not fit: method"),
        (["next", "pets", "--to", "xlsx"], "there is no form 'xlsx'"),
        (["next", "plants"], "has no run of dataset 'plants' that reached purify"),
        (["start", "plants"], "has no run of dataset 'plants' that reached embed"),
        (["export", "pets", "ledger.txt"], "neither .csv nor .parquet"),
    ],
)
def test_what_cannot_be_is_said(
    finished, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["review", *arguments, "--store", finished.url]) == 2
    assert message in capsys.readouterr().err


def test_an_empty_ledger_is_exported_as_such(finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "ledger.csv"
    assert main(["review", "export", "pets", str(out), "--store", finished.url]) == 0
    assert "0 decisions on 'pets'" in capsys.readouterr().out
    assert out.read_text().splitlines()[0].startswith('"sample_id","trusted_name"')
