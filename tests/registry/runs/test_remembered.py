"""What follows from the sources alone is made once and found again, until a source changes."""

import os
from pathlib import Path
from typing import Any

import pytest

from registry.runs import remembered as module
from registry.runs.remembered import remembered, state_of


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of two files, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "_sources", {})
    (tmp_path / "parts" / "inner").mkdir(parents=True)
    (tmp_path / "parts" / "one.py").write_text("ONE = 1\n")
    (tmp_path / "parts" / "inner" / "two.py").write_text("TWO = 2\n")
    return tmp_path / "parts"


def ask(made: list[int], key: str = "key", kept: Any = None) -> Any:
    """What is remembered, and in `made` a line for each time that it was made."""

    def make() -> Any:
        made.append(1)
        return {"number": 7} if kept is None else kept

    return remembered("numbers", state_of(["parts"]), key, make, lambda found: {"number": int(found["number"])})


def test_it_is_made_once_for_each_key_and_state_of_the_sources(sources: Path) -> None:
    made: list[int] = []
    assert [ask(made), ask(made), len(made)] == [{"number": 7}, {"number": 7}, 1]
    ask(made, "other")
    assert len(made) == 2
    one = sources / "one.py"
    kept, stamp = one.read_text(), one.stat()
    one.write_text("ONE = 1  # longer\n")
    ask(made)
    assert len(made) == 3
    one.write_text(kept)
    os.utime(one, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 10**9))
    ask(made)
    assert len(made) == 3, "the sources are what they were"


@pytest.mark.parametrize("change", ["moved", "removed"])
def test_a_file_that_moves_or_goes_changes_the_digest(sources: Path, change: str) -> None:
    before, two = state_of(["parts"]), sources / "inner" / "two.py"
    two.rename(sources / "two.py") if change == "moved" else two.unlink()
    assert state_of(["parts"]) != before


def test_what_was_made_of_sources_that_changed_meanwhile_is_not_kept(sources: Path, tmp_path: Path) -> None:
    began = state_of(["parts"])

    def make() -> Any:
        (sources / "one.py").write_text("ONE = 111\n")
        return 1

    assert remembered("numbers", began, "key", make, int) == 1
    assert not (tmp_path / "cache").exists()
    assert remembered("numbers", state_of(["parts"]), "key", lambda: 2, int) == 2
    assert remembered("numbers", began, "key", lambda: 3, int) == 3, "of the sources as they were"


@pytest.mark.parametrize("damage", ["half a fi", "[]", "{}", '{"number": null}', "\x00"])
def test_what_is_damaged_is_made_again(sources: Path, tmp_path: Path, damage: str) -> None:
    made: list[int] = []
    ask(made)
    (file,) = (tmp_path / "cache" / "latte-workbench" / "numbers").iterdir()
    file.write_text(damage)
    assert ask(made) == {"number": 7}
    assert len(made) == 2
    ask(made)
    assert len(made) == 2, "and is whole again"


def test_a_home_that_cannot_be_written_forgets(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    made: list[int] = []
    assert [ask(made), ask(made), len(made)] == [{"number": 7}, {"number": 7}, 2]


def test_the_older_half_of_too_many_goes(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 4)
    made: list[int] = []
    folder = tmp_path / "cache" / "latte-workbench" / "numbers"
    for number in range(4):
        before = set(folder.iterdir()) if folder.exists() else set()
        ask(made, str(number))
        for file in set(folder.iterdir()) - before:
            os.utime(file, ns=(number, number))
    ask(made, "4")
    assert len(list(folder.iterdir())) == 3
    ask(made, "4")
    ask(made, "3")
    assert len(made) == 5, "the newer ones stay"
    ask(made, "0")
    assert len(made) == 6
