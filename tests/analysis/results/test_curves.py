"""The logged lines of a training: what is read at once is what is read line by line, whatever stands there."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.results.curves import curves

NUMBERS = st.one_of(st.integers(-(10**20), 10**20), st.floats(), st.booleans())
# Mostly lines as they are logged, sometimes what a kill, another version or a plugin leaves.
LINES = st.builds(
    lambda step, values: json.dumps({"step": step, "time": 1.7e9, **values}),
    st.one_of(st.integers(0, 50), st.integers(0, 50), st.sampled_from([None, True, 2.0, "3"])),
    st.dictionaries(
        st.sampled_from(["loss", "grad_norm", "validation_loss"]),
        st.one_of(NUMBERS, NUMBERS, NUMBERS, st.sampled_from([None, "text", {"of": 1}, [1]])),
    ),
)
DAMAGED = st.sampled_from(['{"step": 5', "[1]", "", "\0\0", '{"step": 1}{"step": 2}', '{"step": 1, "step": 2}'])


@pytest.mark.parametrize("lines", [["", '{"step": 1}{"step": 2}'], ['{"step":', "3}", '{"step": 1} {"step": 2}']])
def test_two_objects_of_a_line_are_no_lines(tmp_path: Path, lines: list[str]) -> None:
    """As many objects as there are lines, and none of them is one."""
    assert told(tmp_path, "".join(line + "\n" for line in lines)).empty


def told(folder: Path, content: str) -> pd.DataFrame:
    """What `curves` finds in a file with this content."""
    (folder / "metrics.jsonl").write_text(content, encoding="utf-8")
    return curves([("baseline", 3, folder)])


@given(st.one_of(st.lists(LINES), st.lists(st.one_of(LINES, LINES, DAMAGED))))
def test_whatever_stands_there_each_number_is_found(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    found = told(tmp_path_factory.mktemp("training"), "".join(line + "\n" for line in lines))
    expected: dict[int, dict[str, float]] = {}
    for line in lines:
        try:
            values = json.loads(line)
        except ValueError:
            continue
        if isinstance(values, dict) and type(values.get("step")) is int:
            numbers = {name: value for name, value in values.items() if isinstance(value, (int, float))}
            own = expected.setdefault(values["step"], {})
            own |= {name: float(value) for name, value in numbers.items() if name not in ("step", "time")}
    assert found["step"].tolist() == sorted(expected)
    for row in found.to_dict("records"):
        own = {name: row[name] for name in row if name not in ("arm", "seed", "step") and row[name] == row[name]}
        assert own == {name: value for name, value in expected[row["step"]].items() if value == value}


@pytest.mark.parametrize("damage", ["", '{"step": 5'], ids=["read at once", "line by line"])
def test_of_a_step_written_twice_the_last_value_that_was_logged_counts(tmp_path: Path, damage: str) -> None:
    """A loss of NaN is logged, a null or a missing one is not."""
    lines = [
        '{"step": 2, "loss": 2.5, "grad_norm": 0.5}', '{"step": 1, "loss": 1.0, "grad_norm": 0.25, "lr": NaN}',
        '{"step": 1, "loss": NaN, "grad_norm": null, "lr": 3}', '{"step": 2, "lr": 4}', damage,
    ]  # fmt: skip
    found = told(tmp_path, "".join(line + "\n" for line in lines if line))
    assert found["step"].tolist() == [1, 2]
    np.testing.assert_array_equal(found["loss"], [np.nan, 2.5])
    assert found["grad_norm"].tolist() == [0.25, 0.5]
    assert found["lr"].tolist() == [3.0, 4.0]


def test_a_file_without_damage_is_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Line by line takes ten times as long, and trainings of 10,000 logged lines are common."""
    monkeypatch.setattr("analysis.results.curves.read_metrics", lambda folder: pytest.fail("read line by line"))
    lines = [json.dumps({"step": step, "time": 1.7e9 + step, "loss": 1 / step, "lr": 0}) for step in range(1, 100)]
    found = told(tmp_path, "\n".join(lines) + "\n")
    assert found["loss"].tolist() == [1 / step for step in range(1, 100)]
    assert list(found.columns) == ["arm", "seed", "step", "loss", "lr"]
    assert found["lr"].dtype == "float64"
