import math

import pandas as pd
import pytest

from analysis.results.results_frame import (
    done,
    load,
    paired_scores,
    protocol_of,
    refuse_mixed,
    score_names,
    scores_by_seed,
)
from registry.errors import RunError
from registry.schema.result_columns import PACE
from tests.fixtures.replicates import replicates


def test_a_row_per_replicate_and_a_column_per_axis_and_score():
    frame = load(replicates({"a": [1.0, 2.0], "b": [3, None]}))
    assert list(frame.columns) == [
        "experiment", "arm", "seed", "identity", "state", "folder",
        "data_digest", "protocols", "protocol_specs", "steps", "seconds", "parameters", *PACE,
        "made_by", "loss_protocol", "blocks", "fvd",
    ]  # fmt: skip
    assert frame["fvd"].dtype == "float64"
    assert frame["fvd"].tolist()[:3] == [1.0, 2.0, 3.0]
    assert math.isnan(frame["fvd"][3])
    assert frame["blocks"].tolist() == ["a", "a", "b", "b"]
    assert len(done(frame)) == 3
    assert scores_by_seed(frame, "b", "fvd").to_dict()[0] == 3.0


def test_how_fast_a_training_was_is_in_it():
    rows = replicates({"a": [1.0, 2.0]})
    rows[0]["result"]["pace"] = {"clips_per_second": 7.5, "matmul_peak_percentage": 40.0}
    frame = load(rows)
    assert frame["clips_per_second"].tolist()[0] == 7.5
    assert math.isnan(frame["clips_per_second"][1])
    assert math.isnan(frame["peak_memory_megabytes"][0])


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


def test_an_axis_of_an_older_launch_that_has_the_name_of_another_column_stands_in_one_of_its_own():
    rows = [row | {"axes": {"steps": row["arm"]}} for row in replicates({"25": [1.0], "50": [2.0]})]
    frame = load(rows)
    assert frame["axis.steps"].tolist() == ["25", "50"]
    assert frame["steps"].tolist() == [10, 10]
    assert score_names(frame) == ["fvd"]


def test_a_score_that_is_no_number_is_missing():
    assert math.isnan(load(replicates({"a": ["broken"]}))["fvd"][0])


def test_pairs_are_made_by_seed_and_only_of_finite_scores():
    first = pd.Series([1.0, 2.0, math.nan, 4.0, math.inf], index=[0, 1, 2, 3, 4])
    second = pd.Series([40.0, 10.0, 1.0, 5.0], index=[3, 0, 2, 4])
    assert paired_scores([first, second]).tolist() == [[1.0, 10.0], [4.0, 40.0]]
    assert paired_scores([first, pd.Series(dtype=float)]).shape == (0, 2)


OLD = {"measuring": 1, "real": {"interval": 3, "storage": ["jpeg"]}, "detector": "i3d"}
NEW = {"measuring": 1, "real": {"interval": 1, "storage": []}, "detector": "i3d"}


def test_mixed_protocols_are_refused_with_their_difference():
    rows = replicates({"a": [1.0], "b": [2.0]}, spec=OLD) + replicates({"c": [3.0]}, protocol="q", spec=NEW)
    frame = load(rows)
    with pytest.raises(RunError) as refused:
        refuse_mixed(frame, ["a", "b", "c"], "fvd")
    assert str(refused.value).splitlines() == [
        "fvd of different protocols cannot be compared: p (arm a, b); q (arm c)",
        "  p / q:",
        "    real.interval: 3 / 1",
        '    real.storage: ["jpeg"] / []',
        "see them apart with `table --only ARM`; to compare them, run one of the two again with the scoring of the "
        "other",
    ]
    assert protocol_of(frame, ["a", "b"], "fvd") == "p"
    assert protocol_of(frame, ["c"], "fvd") == "q"


def test_a_protocol_that_was_not_recorded_is_another_one():
    frame = load(replicates({"a": [1.0]}) + replicates({"b": [1.0]}, protocol=None))
    with pytest.raises(
        RunError, match=r"p \(arm a\); not recorded \(arm b\)\n  where p and not recorded differ was not"
    ):
        refuse_mixed(frame, ["a", "b"], "fvd")


def test_each_score_has_its_own_protocol_and_the_validation_loss_none():
    scores = {"fvd": 1.0, "kvd": 2.0, "validation_loss": 0.5}
    rows = replicates({"a": [1.0], "b": [1.0]})
    for row, of_kvd in zip(rows, "kl", strict=True):
        row["result"] |= {"scores": scores, "protocols": {"fvd": "p", "kvd": of_kvd, "validation_loss": of_kvd}}
    frame = load(rows)
    assert protocol_of(frame, ["a", "b"], "fvd") == "p"
    assert protocol_of(frame, ["a", "b"], "validation_loss") is None
    with pytest.raises(RunError, match="kvd of different protocols"):
        refuse_mixed(frame, ["a", "b"], "kvd")


@pytest.mark.parametrize("metric", ["validation_loss", "validation_loss_band_0"])
def test_losses_of_other_clips_or_another_diffusion_are_refused_with_what_differs(metric: str):
    of = {"data": {"interval": 2}, "diffusion": {"objective": {"name": "v_prediction"}}}
    rows = replicates({"a": [1.0, 2.0], "b": [1.0], "c": [1.0], "d": [1.0]}, metric=metric, protocol=None)
    for row in rows:
        changed = of | {"data": {"interval": 1}} if row["arm"] == "c" else of
        row["loss_protocol"] = None if row["arm"] == "d" else changed
    frame = load(rows)
    assert protocol_of(frame, ["a", "b", "d"], metric) is None
    with pytest.raises(RunError, match=rf"{metric} of different data or diffusion cannot be compared") as refused:
        refuse_mixed(frame, ["a", "b", "c"], metric)
    assert "    data.interval: 2 / 1" in str(refused.value).splitlines()


def test_other_data_is_refused_for_every_score():
    frame = load(replicates({"a": [1.0]}) + replicates({"b": [1.0]}, data_digest="e"))
    with pytest.raises(RunError, match=r"fvd of different data cannot be compared: d \(arm a\); e \(arm b\)"):
        refuse_mixed(frame, ["a", "b"], "fvd")


def test_what_has_no_such_score_does_not_mix():
    rows = replicates({"a": [1.0]}) + replicates({"b": [1.0]}, metric="kvd", protocol="q")
    assert protocol_of(load(rows), ["a", "b"], "fvd") == "p"
    assert protocol_of(load(replicates({"a": [None]})), ["a"], "fvd") is None
