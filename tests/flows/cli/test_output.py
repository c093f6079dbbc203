"""What a person sees is what can be copied."""

import pytest

from flows.cli.output import plain_table, results


def test_a_narrow_terminal_splits_no_key(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    table = plain_table("kind", "key", "method", "age")
    table.add_row("annotations", "0123456789abcdef" * 2, "linear_probe", "16 min 14 s")
    results().print(table)
    assert "0123456789abcdef" * 2 in capsys.readouterr().out
