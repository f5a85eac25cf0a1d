"""A screen by a score through the command line: before it, of what runs at its rung, and behind it."""

from pathlib import Path

import pytest

from tests.cli.command import Told, run
from tests.fixtures.toy_replicates import TOY

SCREENED = TOY[: TOY.index("ablate:")] + (
    "arms: {fast: {learning.learning_rate: 5e-3}}\nseeds: [0]\nfloors: []\n"
    "screen: {rungs: [6], keep: 0.5, metric: fvd, evaluation: {sampling.clips: 4, scoring.real_clips: 4}}\n"
)


class Screening:
    """The toy experiment with two arms of which one is scored in full, before and behind its launch."""

    def __init__(self, folder: Path) -> None:
        self.file, self.runs = folder / "toy.yaml", folder / "runs"
        self.file.write_text(SCREENED, encoding="utf-8")
        self.early, self.dry = self.say("status", "--screen"), self.say("launch", "--dry-run")
        self.launched = self.say("launch", "--executor", "debug")

    def say(self, verb: str, *more: str) -> Told:
        return run(verb, self.file, "--runs", self.runs, *more)


@pytest.fixture(scope="module")
def screening(tmp_path_factory: pytest.TempPathFactory) -> Screening:
    return Screening(tmp_path_factory.mktemp("screening"))


def test_before_it_begins_a_dry_run_shows_the_rung(screening: Screening) -> None:
    assert screening.early.code == 1
    assert f"toy-screen: nothing of it was begun; `launch {screening.file}" in screening.early.err
    assert [f"would run {arm} at step 6 seed 0" in screening.dry.out for arm in ("baseline", "fast")] == [True, True]


def test_one_of_two_trained_arms_is_scored_in_full(screening: Screening) -> None:
    assert screening.launched.code == 0, screening.launched.err
    assert "screen: at step 6 1 of 2 arms go on: " in screening.launched.out
    status = screening.say("status", "--format", "json").json["replicates"]
    assert sorted(row["state"] for row in status) == ["done", "stopped"]
    words = screening.say("status").out
    assert "screened out at step 6, 2nd of 2" in words
    assert "screen: at step 6 by fvd: 2 of 2 evaluations are done" in words


def test_verbs_with_screen_are_about_what_ran_at_the_rung(screening: Screening) -> None:
    status = screening.say("status", "--screen", "--format", "json").json["replicates"]
    assert [(row["arm"], row["state"]) for row in status] == [
        ("baseline at step 6", "done"),
        ("fast at step 6", "done"),
    ]
    table = screening.say("table", "--screen", "--only", "fast*")
    assert table.code == 0
    assert "baseline at" not in table.out
    assert "fast at step 6" in table.out


def test_a_command_is_about_one_stage(screening: Screening) -> None:
    both = screening.say("status", "--screen", "--tuning")
    assert both.code == 2
    assert "--tuning and --screen name two stages of the experiment: give one of the two" in both.err


def test_the_table_has_both_orders(screening: Screening) -> None:
    first, second = sorted(
        screening.say("table", "--screen", "--format", "json").json["arms"],
        key=lambda row: float(row["fvd[moving_shapes_r3d]"]),
    )
    order = " < ".join(str(row["arm"]).removesuffix(" at step 6") for row in (first, second))
    winner = str(first["arm"]).removesuffix(" at step 6")
    notes = screening.say("table", "--format", "json").json["notes"]
    assert f"screen: at step 6 by fvd: {order}; of these, scored in full: {winner}" in notes


def test_a_score_that_is_misspelt_is_told_with_its_line(screening: Screening) -> None:
    told = screening.say("check", "screen.metric=fdv")
    assert told.code == 2
    assert "screen.metric: no score 'fdv'; did you mean 'fvd'" in told.err
