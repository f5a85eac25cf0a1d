"""What the console prints of tables: colours of states, and several tables where one is too wide."""

import io

import pytest
from rich.console import Console

from experiments.cli import console


def test_states_have_their_colours() -> None:
    (table,) = console.make_tables(["arm", "state"], [["a", "failed"], ["b", "done"], ["c", "else"]])
    file = io.StringIO()
    Console(file=file, force_terminal=True, color_system="standard", width=80).print(table)
    assert "\x1b[1;31mfailed" in file.getvalue()
    assert "\x1b[32mdone" in file.getvalue()
    assert "else" in file.getvalue()


def test_a_table_goes_by_the_columns_that_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [["an_arm=with_a_name", "0.123456789", "1,234,567", None, "300/300"]]
    for columns, tables in (("40", 2), ("160", 1)):
        monkeypatch.setenv("COLUMNS", columns)
        console.table(["arm", "learning rate", "parameters", "node", "step"], rows, "of one")
        told = capsys.readouterr().out
        assert told.count("arm ") == tables
        assert "0.123456789" in told
        assert "1,234,567" in told
