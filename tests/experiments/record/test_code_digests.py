"""Digests of this repository's code: worked out once for each user, and the same as those that are worked out anew."""

import json
from pathlib import Path

import pytest

from experiments.record import code_digests
from registry.parts import source_digest
from registry.parts.catalogue import catalogue
from tests.fixtures.toy_replicates import made


@pytest.fixture
def forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a cache that knows nothing, and a process that has looked up nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(code_digests, "_known", {})
    return tmp_path / "cache" / "latte-workbench" / "code_digests"


def test_another_process_reads_what_one_has_worked_out(
    tmp_path: Path, forgotten: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = made(tmp_path / "toy", "floors=[]", "ablate={}", "claim=[]")[0].spec
    worked_out = code_digests.of_training(spec), code_digests.of_evaluation(spec)
    (file,) = forgotten.iterdir()
    built_in = {info.dotted for info in catalogue().parts() if not info.from_outside}
    assert built_in | {"training loop", "sampling loop", "scoring loop"} == set(json.loads(file.read_text()))

    def again(*given: object) -> str:
        raise AssertionError("worked out twice")

    monkeypatch.setattr(code_digests, "_known", {})
    monkeypatch.setattr(source_digest, "_digest", again)
    assert (code_digests.of_training(spec), code_digests.of_evaluation(spec)) == worked_out


@pytest.mark.parametrize("damage", ["{}", "[1]", "half a fi"])
def test_without_what_was_remembered_the_digests_are_the_same(
    tmp_path: Path, forgotten: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    spec = made(tmp_path / "toy", "floors=[]", "ablate={}", "claim=[]")[0].spec
    first = code_digests.of_training(spec), code_digests.of_evaluation(spec)
    (file,) = forgotten.iterdir()
    file.write_text(damage)
    monkeypatch.setattr(code_digests, "_known", {})
    assert (code_digests.of_training(spec), code_digests.of_evaluation(spec)) == first


def test_nothing_is_remembered_where_code_from_elsewhere_counts(
    tmp_path: Path, forgotten: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = made(tmp_path / "toy", "floors=[]", "ablate={}", "claim=[]")[0].spec
    monkeypatch.setattr(code_digests, "files_of", lambda digests: {tmp_path / "mine.py"})
    first = code_digests.of_training(spec)
    (file,) = forgotten.iterdir()
    assert json.loads(file.read_text()) == {}
    monkeypatch.undo()
    assert code_digests.of_training(spec) == first
