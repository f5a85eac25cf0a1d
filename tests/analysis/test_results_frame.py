import math

import pytest

from analysis.results import done, load, scores_by_seed
from registry.errors import RunError
from tests.analysis.replicates import replicates


def test_a_row_per_replicate_and_a_column_per_axis_and_score():
    frame = load(replicates({"a": [1.0, 2.0], "b": [3, None]}))
    assert list(frame.columns) == [
        "experiment", "arm", "seed", "identity", "state", "folder",
        "data_digest", "protocol", "steps", "seconds", "blocks", "fvd",
    ]  # fmt: skip
    assert frame["fvd"].dtype == "float64"
    assert frame["fvd"].tolist()[:3] == [1.0, 2.0, 3.0]
    assert math.isnan(frame["fvd"][3])
    assert frame["blocks"].tolist() == ["a", "a", "b", "b"]
    assert len(done(frame)) == 3
    assert scores_by_seed(frame, "b", "fvd").to_dict()[0] == 3.0


def test_nothing_run_is_an_empty_frame_with_its_columns():
    assert list(load([]).columns)[:3] == ["experiment", "arm", "seed"]
    frame = load(replicates({"a": [None]}))
    assert scores_by_seed(frame, "a", "fvd").isna().all()


def test_a_replicate_that_is_there_twice_is_refused():
    with pytest.raises(RunError, match="arm 'a' has seed 0 twice: runs/made_up/a/seed-0"):
        load(replicates({"a": [1.0]}) * 2)


def test_a_name_taken_twice_is_refused():
    with pytest.raises(RunError, match="two columns of the results are named 'steps'"):
        load(replicates({"a": [1.0]}, metric="steps"))


def test_a_score_that_is_no_number_is_missing():
    assert math.isnan(load(replicates({"a": ["broken"]}))["fvd"][0])
