"""The code of a launch is frozen: what is edited afterwards reaches no job, and equal code is kept once."""

import subprocess
import sys
from pathlib import Path

import pytest

from experiments.record import snapshot
from experiments.record.snapshot import FOLDER, freeze
from registry.errors import RunError


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    done = subprocess.run(["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small checkout that stands for ours."""
    root = tmp_path / "checkout"
    (root / "experiments").mkdir(parents=True)
    (root / "tests").mkdir()
    (root / "run.py").write_text("VALUE = 1\n")
    (root / "experiments" / "part.py").write_text("VALUE = 1\n")
    (root / "tests" / "test_part.py").write_text("")
    (root / ".gitignore").write_text("runs/\n")
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "first")
    monkeypatch.setattr(snapshot, "ROOT", root)
    return root


def frozen(checkout: Path, plugins: bool = False) -> snapshot.Snapshot:
    return freeze(checkout / "runs", checkout / "experiments" / "my.yaml", plugins)


def test_a_clean_checkout_is_its_commit(checkout: Path) -> None:
    found = frozen(checkout)
    assert found.commit == git(checkout, "rev-parse", "HEAD")
    assert not found.changed
    assert (found.folder / "run.py").read_text() == "VALUE = 1\n"
    assert not (found.folder / "tests").exists()  # it is not run
    assert found.folder.parent == checkout / "runs" / FOLDER
    assert found.about() == {"commit": found.commit, "changed": False, "snapshot": found.folder.name}


def test_uncommitted_changes_and_new_sources_are_in_it_and_the_checkout_is_not_touched(checkout: Path) -> None:
    clean = frozen(checkout)
    (checkout / "run.py").write_text("VALUE = 2\n")
    (checkout / "experiments" / "new.py").write_text("NEW = 1\n")
    (checkout / "large.mp4").write_bytes(b"not code")
    before = git(checkout, "status", "--porcelain"), git(checkout, "count-objects")
    found = frozen(checkout)
    assert found.changed
    assert found.commit == clean.commit
    assert found.folder != clean.folder
    assert (found.folder / "run.py").read_text() == "VALUE = 2\n"
    assert (found.folder / "experiments" / "new.py").exists()
    assert not (found.folder / "large.mp4").exists()
    assert "+VALUE = 2" in (found.folder / "changes.diff").read_text()
    assert "+NEW = 1" in (found.folder / "changes.diff").read_text()
    assert (git(checkout, "status", "--porcelain"), git(checkout, "count-objects")) == before
    assert (clean.folder / "run.py").read_text() == "VALUE = 1\n"


def test_equal_code_is_kept_once_and_a_removed_file_is_gone(checkout: Path) -> None:
    first = frozen(checkout)
    stamp = (first.folder / "run.py").stat().st_mtime_ns
    assert frozen(checkout).folder == first.folder
    assert (first.folder / "run.py").stat().st_mtime_ns == stamp
    (checkout / "experiments" / "part.py").unlink()
    assert not (frozen(checkout).folder / "experiments" / "part.py").exists()
    assert len(list((checkout / "runs" / FOLDER).iterdir())) == 2


def test_what_lies_among_runs_within_the_checkout_is_not_frozen(checkout: Path) -> None:
    """Else each launch would freeze all that were frozen before it: twice as much every time."""
    runs = checkout / "more" / "runs2"
    spec = runs / "_trainings" / "0123456789" / "seed-0" / "spec.yaml"
    spec.parent.mkdir(parents=True)
    spec.write_text("model: {}\n")
    found = [snapshot.freeze(runs, checkout / "experiments" / "toy.yaml") for _ in range(2)]
    assert found[0] == found[1]
    assert not found[0].changed
    assert not list(found[0].folder.rglob("_*/**/*.py"))


def test_what_runs_is_the_snapshot_even_from_within_the_checkout(checkout: Path) -> None:
    found = frozen(checkout)
    (checkout / "run.py").write_text("VALUE = 2\n")
    command = [sys.executable, "-c", "import run; print(run.VALUE)"]
    done = subprocess.run(command, cwd=checkout, env=found.environment(), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_plugins_beside_the_file_are_frozen_as_well(checkout: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "mine"
    elsewhere.mkdir()
    (elsewhere / "my_parts.py").write_text("VALUE = 1\n")
    outside = freeze(checkout / "runs", elsewhere / "my.yaml", plugins=True)
    (elsewhere / "my_parts.py").write_text("VALUE = 2\n")
    assert outside.beside is not None
    assert (outside.beside / "my_parts.py").read_text() == "VALUE = 1\n"
    assert outside.python_path.split(":")[:2] == [str(outside.folder), str(outside.beside)]
    inside = frozen(checkout, plugins=True)
    assert inside.beside == inside.folder / "experiments"
    assert frozen(checkout).beside is None
    (checkout / ".git" / "info" / "exclude").write_text("mine.py\n")
    (checkout / "experiments" / "mine.py").write_text("VALUE = 1\n")
    ignored = frozen(checkout, plugins=True)
    assert ignored.beside is not None
    assert not (ignored.folder / "experiments" / "mine.py").exists()
    assert (ignored.beside / "mine.py").read_text() == "VALUE = 1\n"


DAMAGE: dict[str, tuple[str, str]] = {
    "edited": ("experiments/part.py", "was changed"),
    "missing": ("run.py", "is missing"),
    "added": ("experiments/torch.py", "was added"),
    "listed otherwise": (snapshot.CONTENTS, "was changed"),
    "not listed": (snapshot.CONTENTS, "cannot be read"),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("with_git", [True, False])
def test_frozen_code_is_held_against_its_name(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], damage: str, with_git: bool
) -> None:
    monkeypatch.setattr(snapshot, "_is_checkout", lambda: with_git)
    folder = frozen(checkout).folder
    whole = {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}
    assert snapshot.damage_of(folder) == ""
    name, told = DAMAGE[damage]
    path = folder / name
    if damage in ("missing", "not listed"):
        path.unlink()
    else:
        path.write_text((path.read_text() if path.exists() else "") + "VALUE = 3\n")
    assert snapshot.damage_of(folder) == f"{path}: {told}"
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    assert snapshot.damage_here() == f"{path}: {told}"
    assert frozen(checkout).folder == folder
    assert capsys.readouterr().err == f"freezing the code again: {path}: {told}\n"
    assert {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()} == whole
    assert snapshot.damage_here() == ""


def test_what_python_compiles_is_no_damage(checkout: Path) -> None:
    found = frozen(checkout)
    command = [sys.executable, "-c", "import run"]
    subprocess.run(command, cwd=checkout, env=found.environment(), check=True)
    assert list((found.folder / "__pycache__").iterdir())
    assert snapshot.damage_of(found.folder) == ""


def test_without_git_the_files_are_copied(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "_is_checkout", lambda: False)
    first = frozen(checkout)
    assert (first.commit, first.changed) == ("", False)
    assert (first.folder / "experiments" / "part.py").exists()
    (checkout / "experiments" / "part.py").write_text("VALUE = 2\n")
    assert frozen(checkout).folder != first.folder


def test_git_that_fails_is_told(checkout: Path) -> None:
    (checkout / ".git" / "HEAD").write_text("ref: refs/heads/nowhere\n")
    with pytest.raises(RunError, match=r"git rev-parse fails in .*checkout"):
        frozen(checkout)
