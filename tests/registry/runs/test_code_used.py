"""Which attempts' code is in what a folder holds."""

from pathlib import Path

import pytest

from experiments.record.recording import Recorder
from registry.runs.code_used import FILE, other_than, took_part, versions
from registry.runs.records import CodeUsed


def note(folder: Path, *begun_at: int) -> None:
    for attempt, place in enumerate(begun_at, 1):
        Recorder(folder).code(CodeUsed(attempt=attempt, begun_at=place, digests={"loop": f"version {attempt}"}))


@pytest.mark.parametrize(
    ("begun_at", "before", "attempts"),
    [
        ((), None, []),
        ((0,), None, [1]),
        ((0, 20), None, [1, 2]),
        ((0, 0), None, [2]),  # the first left no checkpoint
        ((0, 20, 20), None, [1, 3]),
        ((0, 20, 40, 20), None, [1, 4]),  # the checkpoint of step 40 could not be believed
        ((0, 20, 40), 40, [1, 2]),  # of an evaluation at step 40
        ((0, 20, 40), 20, [1]),
    ],
)
def test_who_took_part(tmp_path: Path, begun_at: tuple[int, ...], before: int | None, attempts: list[int]) -> None:
    note(tmp_path, *begun_at)
    assert [used.attempt for used in took_part(tmp_path, before)] == attempts


def test_a_way_back_for_an_earlier_step_made_nothing_of_later_ones(tmp_path: Path) -> None:
    note(tmp_path, 0)
    Recorder(tmp_path).code(CodeUsed(attempt=2, begun_at=0, until=100, digests={"loop": "version 2"}))
    assert [[used.attempt for used in took_part(tmp_path, before)] for before in (None, 1000, 100)] == [[1], [1], [2]]


def test_lines_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    note(tmp_path, 0)
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"attempt": 2}\n[1]\n\xff\n{"attem')
    note(tmp_path, 0, 3)
    assert [used.begun_at for used in took_part(tmp_path)] == [0, 3]


def test_versions_and_what_the_present_code_has_not_made() -> None:
    used = [
        CodeUsed(attempt=number, begun_at=number, digests=digests)
        for number, digests in enumerate([{"a": "1", "b": "1"}, {"a": "2", "b": "1"}, {"a": "1", "b": "1"}])
    ]
    made = versions(used)
    assert made == {"a": ["1", "2"], "b": ["1"]}
    assert other_than(made, {"a": "2", "b": "1"}) == ["a"]
    assert other_than(made, {"b": "2", "c": "1"}) == ["b"]
    assert other_than({"b": ["1"]}, {"b": "1"}) == []
