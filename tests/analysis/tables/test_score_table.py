import csv
import io
import json
import math

import pytest

from analysis.results.results_frame import load
from analysis.tables.rendering import scores_table
from analysis.tables.score_table import NOTHING, summary, to_csv, to_latex, to_markdown, to_text, with_spread
from registry.errors import RunError
from tests.fixtures.replicates import floor, replicates

METRIC = "fvd[random_r3d]"


@pytest.fixture
def table():
    scores = {"baseline": [10.0, 20.0, 30.0], "blocks=variant_4": [13.0, None, 35.0], "a|b&c": [None]}
    return summary(load(replicates(scores, metric=METRIC)), [METRIC])


def test_a_row_per_arm_with_mean_spread_and_paired_difference(table):
    baseline, variant, unfinished = table.rows.to_dict("records")
    assert (baseline["done"], baseline["planned"], baseline[METRIC], baseline[f"{METRIC} sd"]) == (3, 3, 20.0, 10.0)
    assert math.isnan(baseline[f"{METRIC} delta"])
    assert (variant["done"], variant["planned"], variant[METRIC]) == (2, 3, 24.0)
    assert variant[f"{METRIC} delta"] == pytest.approx((3 + 5) / 2)  # seeds 0 and 2, not 24 - 20 of unequal seeds
    assert unfinished["done"] == 0
    assert all(math.isnan(unfinished[name]) for name in (METRIC, f"{METRIC} sd", f"{METRIC} delta"))


def test_the_terminal_shows_names_with_brackets(table):
    shown = to_text(table, 120, "experiment [x]")
    for text in (METRIC, "20 ± 10", "24 ± 16", "+4.00", "2/3", "experiment [x]", f"{METRIC}: protocol p"):
        assert text in shown


def test_markdown_is_a_table_of_equal_rows(table):
    *lines, empty, caption = to_markdown(table).strip().splitlines()
    assert (empty, caption) == ("", f"{METRIC}: protocol p")
    assert lines[0].split(" | ")[0].startswith("| arm")
    assert set(lines[1]) == set("|-: ")
    assert len({len(line) for line in lines}) == 1
    assert r"a\|b&c" in lines[4]


def test_latex_escapes_what_it_must(table):
    text = to_latex(table)
    assert r"blocks=variant\_4 & 2/3 & 24 $\pm$ 16 & +4.00 \\" in text
    assert r"a|b\&c & 0/1 & -- & -- \\" in text
    assert text.count(r"\\") == 4
    assert text.splitlines()[-1] == f"% {METRIC}: protocol p"


def test_csv_has_the_full_numbers(table):
    rows = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert float(rows[1][f"{METRIC} sd"]) == pytest.approx(15.556349186104045, abs=1e-12)
    assert rows[2][METRIC] == ""
    assert [row[f"{METRIC} protocol"] for row in rows] == ["p", "p", "p"]


def test_arms_measured_in_two_ways_are_refused_with_the_difference():
    rows = replicates({"baseline": [1.0, 2.0]}, spec={"interval": 3})
    rows += replicates({"other": [3.0, 4.0]}, protocol="q", spec={"interval": 1})
    with pytest.raises(RunError, match=r"different protocols[^\n]*\n  p / q:\n    interval: 3 / 1\n.*--only"):
        summary(load(rows), ["fvd"])


def test_one_arm_measured_in_two_ways_is_refused():
    rows = replicates({"baseline": [1.0, 2.0]})
    rows[1]["result"]["protocols"] = {"fvd": "q"}
    with pytest.raises(RunError, match="different protocols"):
        summary(load(rows), ["fvd"])


def test_a_seed_without_a_finite_score_is_named():
    scores = {
        "baseline": [10.0, 20.0, 30.0],
        "a": [1.0, math.nan, 3.0],
        "b": [1.0, math.inf, None],
        "c": [math.nan] * 2,
    }
    found = summary(load(replicates(scores)), ["fvd"])
    assert found.notes == (
        "fvd: no finite score in 1 of 3 seeds of a, 1 of 2 seeds of b; its numbers are of the others",
    )
    assert found.rows["fvd"].tolist()[:3] == [20.0, 2.0, 1.0]
    assert found.rows["fvd delta"].tolist()[1:3] == [-18.0, -9.0]


def test_losses_of_other_data_are_shown_and_not_compared():
    rows = replicates({"baseline": [4.0, 4.1, 4.2], "interval=1": [1.0, 1.1, 1.2], "blocks=variant_4": [5.0, 5.1, 5.3]})
    for row in rows:
        row["result"]["scores"]["validation_loss"] = row["result"]["scores"]["fvd"]
        row["loss_protocol"] = {"data": {"interval": 1 if row["arm"] == "interval=1" else 3}}
    found = summary(load(rows), ["fvd", "validation_loss"], directions={"fvd": "min", "validation_loss": "min"})
    baseline, other, like = found.rows.to_dict("records")
    assert [other["fvd mark"], other["validation_loss mark"]] == ["best", ""]
    assert other["fvd delta"] == pytest.approx(-3.0)
    assert other["validation_loss"] == pytest.approx(1.1)
    assert math.isnan(other["validation_loss delta"])
    assert like["validation_loss delta"] == pytest.approx(like["fvd delta"])
    assert {row["validation_loss mark"] for row in (baseline, other, like)} == {""}
    assert found.notes[0] == (
        "validation_loss: interval=1 differs from baseline in data.interval, and losses of different data or diffusion "
        "are not compared: no difference to the baseline, and no best mean"
    )


def test_floors_of_the_same_protocol_stand_above_the_arms():
    frame = load(replicates({"baseline": [10.0, 20.0], "b": [11.0, 22.0]}))
    floors = [
        floor([2.0, 4.0], clips=128),
        floor([7.0], "reconstruction", clips=64),
        floor([1.0, 2.0], "resampled", protocol="q"),
        floor([1.0, None, float("nan")], "resampled", metric="kvd"),
    ]
    table = summary(frame, ["fvd"], floors)
    assert table.rows["arm"].tolist() == ["floor: real halves", "floor: reconstruction", "baseline", "b"]
    assert table.rows["kind"].tolist() == ["floor", "floor", "arm", "arm"]
    assert table.rows.loc[0, ["done", "fvd"]].tolist() == [2, 3.0]
    assert math.isnan(table.rows.loc[0, "fvd delta"])
    assert table.notes == (
        "floor: real halves: 2 draws of 128 against 128 clips",
        "floor: reconstruction: 1 draw of 64 against 64 clips",
        "fvd: floors of another protocol are left out: resampled (q)",
    )
    assert "| floor: real halves    | 2 draws |  3.0 ± 1.4 |" in to_markdown(table)


def test_a_note_says_of_how_many_videos_the_clips_of_a_floor_are():
    """Clips of one video are not independent, so the videos are what a floor depends on."""
    counted = {"n_real": 200, "videos": [64, 102], "measured_at": [39, 123], "measured_videos": [39, 63]}
    before = {"n_real": 200, "videos": [], "measured_at": [49, 155], "measured_videos": []}
    frame = load(replicates({"baseline": [10.0, 20.0]}))
    for record, told in (
        (counted, "64 against 200 clips of 64 and 102 videos (measured: 39 against 123 of 39 and 63 videos)"),
        (before, "64 against 200 clips (measured: 49 against 155)"),
    ):
        assert summary(frame, ["fvd"], [floor([2.0], **record)]).notes == (f"floor: real halves: 1 draw of {told}",)


def test_a_score_below_a_floor_of_its_own_is_warned_of():
    frame = load(replicates({"baseline": [10.0, 20.0], "b": [2.0, 3.5], "c": [None]}))
    floors = [
        floor([2.98, 3.02]),
        floor([6.0, 6.2], "reconstruction", of="pixels-2"),
        floor([90.0], "resampled"),  # is no bound
        floor([90.0], protocol="q"),
    ]
    warned = [note for note in summary(frame, ["fvd"], floors).notes if note.startswith("warning")]
    assert warned == [
        "warning: fvd: b scores 2.75, below its own floor (real halves 3, reconstruction (pixels-2) 6.1): nothing is "
        "nearer to real clips than they are; look for the same videos on both sides, and for copied clips"
    ]
    by_chance = [floor([2.0, 4.0])]  # an unbiased score scatters as much where nothing is wrong
    assert not [note for note in summary(frame, ["fvd"], by_chance).notes if note.startswith("warning")]
    reached = [floor([90.0], higher_is_better=True)]  # what real clips reach is no bound from below
    assert not [note for note in summary(frame, ["fvd"], reached).notes if note.startswith("warning")]
    several = [*floors, floor([5.0], "reconstruction", of="pixels-4")]  # whose it is cannot be told
    (one,) = (note for note in summary(frame, ["fvd"], several).notes if note.startswith("warning"))
    assert "below its own floor (real halves 3)" in one
    for form in ("table", "md", "tex", "json"):
        assert "b scores 2.75, below its own floor" in " ".join(scores_table(frame, ["fvd"], form, "x", floors).split())


def test_the_table_in_json_tells_arms_from_floors_and_names_protocols():
    frame = load(replicates({"baseline": [10.0, 20.0], "b": [None]}))
    told = json.loads(scores_table(frame, [], "json", "x", [floor([2.0, 4.0])]))
    assert (told["experiment"], told["protocols"]) == ("x", {"fvd": "p"})
    assert [row["arm"] for row in told["arms"]] == ["baseline", "b"]
    assert [(row["arm"], row["fvd"], row["fvd protocol"]) for row in told["floors"]] == [
        ("floor: real halves", 3.0, "p")
    ]
    assert told["arms"][1]["fvd"] is None


@pytest.mark.parametrize(
    ("mean", "sd", "shown"),
    [
        (123.456, 1.234, "123.5 ± 1.2"),
        (123.456, 45.6, "123 ± 46"),
        (0.012345, 0.00067, "0.01235 ± 0.00067"),
        (5.0, 0.0, "5.000 ± 0.000"),
        (0.0, 0.0, "0.000 ± 0.000"),
        (1e-5, 0.0, "0.00001000 ± 0.00000000"),
        (123456.7, 0.0, "123457 ± 0"),
        (0.1, 1.7e-17, "0.1000 ± 0.0000"),  # three scores of 0.1
        (-0.1, 1.7e-17, "-0.1000 ± 0.0000"),
        (1e-5, 1e-7, "0.00001000 ± 0.00000010"),
        (5.0, math.nan, "5"),
        (math.nan, math.nan, NOTHING),
    ],
)
def test_a_mean_is_shown_to_the_digits_that_its_spread_allows(mean, sd, shown):
    assert with_spread(mean, sd) == shown


def test_a_table_too_wide_for_the_terminal_is_one_per_metric(monkeypatch):
    monkeypatch.setenv("COLUMNS", "90")
    rows = replicates({"baseline": [10.0, 20.0], "b": [11.0, 22.0]}, metric="fvd[moving_shapes_r3d]")
    frame = load(rows).assign(**{"fvd_extrapolated[moving_shapes_r3d]": 1.0, "validation_loss": 0.5})
    shown = scores_table(frame, [], "table", "x", [floor([2.0, 4.0], metric="fvd[moving_shapes_r3d]")])
    for text in ("fvd[moving_shapes_r3d]", "fvd_extrapolated[moving_shapes_r3d]", "validation_loss", "2 draws of 64"):
        assert text in shown
    assert shown.count("│ baseline") == 3
    assert shown.count("│ floor: real halves") == 1
    monkeypatch.setenv("COLUMNS", "200")
    wide = scores_table(frame, [], "table", "x")
    assert wide.count("│ baseline") == 1
