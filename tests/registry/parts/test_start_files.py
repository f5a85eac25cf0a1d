"""Which file a path names, and its digest: hashed once, known when the file is gone, and what identities hold."""

import hashlib
import json
from pathlib import Path

import pytest

from registry.errors import SpecError
from registry.experiment.resolve import resolve
from registry.parts import start_files
from registry.parts.catalogue import catalogue
from registry.parts.start_files import digest_of, file_at, sha256_of
from registry.schema.spec import Spec


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def training(folder: Path, *, ended: bool = True, beside: bool = False) -> Path:
    """A training's folder with checkpoints of steps 5 and 10."""
    place = folder / "runs/_trainings/abc/seed-0"
    (place / "checkpoints").mkdir(parents=True)
    for step in (5, 10):
        (place / f"checkpoints/step-{step:08d}.pt").write_text(f"weights {step}")
    if beside:
        (place / "checkpoints/step-00000010.json").write_text(json.dumps({"sha256": "a" * 64}))
    if ended:
        (place / "trained.json").write_text(json.dumps({"steps": 10}))
    return place


def test_an_earlier_checkpoint_is_not_taken_for_the_last(tmp_path: Path) -> None:
    place = training(tmp_path)
    (place / "checkpoints/step-00000010.pt").unlink()
    with pytest.raises(SpecError, match="its last checkpoint, of step 10, is gone; launch it again"):
        file_at(place)


def spec_of(path: Path, **more: str) -> Spec:
    choice = {"name": "checkpoint", "path": str(path), **more}
    spec, problems = resolve({"model": {"size": "S"}, "learning": {"initialisation": choice}}, catalogue())
    assert spec is not None, problems
    return spec


def test_a_training_is_its_last_checkpoint_however_it_is_reached(tmp_path: Path) -> None:
    place = training(tmp_path)
    (place / "evaluations/e").mkdir(parents=True)
    link = tmp_path / "runs/toy/baseline-1/seed-0"
    link.parent.mkdir(parents=True)
    link.symlink_to(place / "evaluations/e")
    last = place / "checkpoints/step-00000010.pt"
    assert {file_at(path).resolve() for path in (place, place / "evaluations/e", link, last)} == {last.resolve()}


def test_what_is_not_there_is_told_with_what_is_near(tmp_path: Path) -> None:
    (tmp_path / "DiT-XL-2.pt").write_text("x")
    with pytest.raises(SpecError, match=r"no file or folder .*DiT-XL-2.pt"):
        file_at(tmp_path / "DiT-XL-3.pt")
    with pytest.raises(SpecError, match="and no folder"):
        file_at(tmp_path / "nowhere/DiT.pt")
    with pytest.raises(SpecError, match="no training with a checkpoint"):
        file_at(tmp_path)
    with pytest.raises(SpecError, match=r"has not made its last step.*step-00000010.pt"):
        file_at(training(tmp_path, ended=False))


def test_a_file_is_hashed_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "start.pt"
    file.write_bytes(b"one")
    hashed: list[Path] = []

    def counting(path: Path) -> str:
        hashed.append(path)
        return sha256_of(path)

    monkeypatch.setattr(start_files, "sha256_of", counting)
    wanted = hashlib.sha256(b"one").hexdigest()
    assert [digest_of(file), digest_of(file), len(hashed)] == [wanted, wanted, 1]
    file.write_bytes(b"other")
    assert digest_of(file) == hashlib.sha256(b"other").hexdigest()
    file.unlink()
    assert digest_of(file) == hashlib.sha256(b"other").hexdigest()  # so that results can still be read
    assert len(hashed) == 2


def test_hashing_says_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start_files, "BLOCK", 4)
    (tmp_path / "ten").write_bytes(b"0123456789")
    said: list[tuple[int, int]] = []
    assert sha256_of(tmp_path / "ten", lambda *how: said.append(how)) == hashlib.sha256(b"0123456789").hexdigest()
    assert said == [(4, 10), (8, 10), (10, 10)]


def test_a_checkpoint_of_a_run_folder_has_its_digest_beside(tmp_path: Path) -> None:
    assert digest_of(training(tmp_path, beside=True)) == "a" * 64


def test_the_content_belongs_to_the_identity_and_the_place_does_not(tmp_path: Path) -> None:
    for name, content in (("a.pt", "one"), ("b.pt", "one"), ("c.pt", "two")):
        (tmp_path / name).write_text(content)
    first, moved, other = (spec_of(tmp_path / name) for name in ("a.pt", "b.pt", "c.pt"))
    assert first.training == moved.training != other.training
    digest = hashlib.sha256(b"one").hexdigest()
    assert first.learning.initialisation.parameters["sha256"] == digest
    assert spec_of(tmp_path / "absent.pt", sha256=digest).training == first.training


def test_a_start_that_is_not_there_is_a_problem_of_the_path(tmp_path: Path) -> None:
    choice = {"name": "checkpoint", "path": str(tmp_path / "absent.pt")}
    _, problems = resolve({"model": {"size": "S"}, "learning": {"initialisation": choice}}, catalogue())
    assert [key for key, _ in problems] == [("learning", "initialisation", "path")]
    choice |= {"experiment": "other.yaml", "sha256": "a" * 64}
    _, problems = resolve({"model": {"size": "S"}, "learning": {"initialisation": choice}}, catalogue())
    assert [key for key, text in problems if "starts from one thing" in text] == [
        ("learning", "initialisation", "path")
    ]
