"""`tune` through the command line: short trainings first, then the arms with what was best for each."""

import json
from pathlib import Path

import pytest

from registry.runs.resolved_experiment import newest_resolved
from tests.cli.command import Told, run
from tests.fixtures.toy_replicates import TOY

TUNED = TOY.replace("seeds: [0, 1]", "seeds: [0]\nfloors: []") + (
    "tune: {learning.learning_rate: [1e-6, 1e-2], budget: 100%}\n"
)
TRIED = [f"{arm}learning_rate={rate}" for arm in ("", "blocks=variant_4,") for rate in ("1e-06", "0.01")]


class Tuning:
    """The toy experiment with two candidates for each of its two arms, before and behind its launch."""

    def __init__(self, folder: Path) -> None:
        self.file, self.runs = folder / "toy.yaml", folder / "runs"
        self.file.write_text(TUNED, encoding="utf-8")
        self.before = {
            verb: self.say(verb) for verb in ("plan", "check", "status", "table", "verdict", "cancel", "retry")
        }
        self.planned = self.say("plan", "--format", "json").json
        self.dry = self.say("launch", "--dry-run")
        self.launched = self.say("launch", "--executor", "debug")

    def say(self, verb: str, *more: str) -> Told:
        return run(verb, self.file, "--runs", self.runs, *more)


@pytest.fixture(scope="module")
def tuning(tmp_path_factory: pytest.TempPathFactory) -> Tuning:
    return Tuning(tmp_path_factory.mktemp("tuning"))


def test_what_diverged_in_a_tuning_is_not_to_be_tried_again(tmp_path: Path) -> None:
    file, runs = tmp_path / "toy.yaml", tmp_path / "runs"
    file.write_text(TUNED.replace("[1e-6, 1e-2]", "[1e-2, 1e30]"), encoding="utf-8")
    overrides = ("ablate={}", "claim=[]", "learning.steps=20", "runtime.log_every=1")
    told = run("launch", file, *overrides, "--runs", runs, "--executor", "local")
    assert told.code == 0, told.err
    status = run("status", file, *overrides, "--runs", runs, "--tuning")
    assert "not finite" in status.out
    assert "next: " in status.out
    assert " retry " not in status.out
    again = run("retry", file, *overrides, "--runs", runs, "--tuning", "--dry-run")
    assert again.out.startswith("0 failed or cancelled replicates would be tried again\n")


def test_before_the_tuning_the_plan_has_its_cost_and_says_that_values_follow(tuning: Tuning) -> None:
    arms = tuning.planned["arms"]
    assert [arm["arm"] for arm in arms] == [*TRIED, "baseline", "blocks=variant_4"]
    assert [arm["identity"] is None for arm in arms] == [False] * 4 + [True] * 2
    assert {tuple(arm["seeds"]) for arm in arms[:4]} == {(10_000,)}
    assert "toy-tuning (tuning of toy): 4 arms" in tuning.before["plan"].out
    for verb in ("plan", "status"):
        assert "toy: its arms get learning.learning_rate when their tuning is done" in tuning.before[verb].out
    assert "toy: baseline: " in tuning.before["check"].out
    assert "identity after tuning" in tuning.before["check"].out
    for verb in ("table", "verdict", "cancel", "retry"):
        told = tuning.before[verb]
        assert (told.code, "does both" in told.err, "--tuning` shows the tuning" in told.err) == (1, True, True), told
    assert tuning.dry.out.count("would run") == 4
    assert "toy: its arms get" in tuning.dry.out


def test_the_launch_tunes_and_trains_each_arm_with_its_best(tuning: Tuning) -> None:
    assert tuning.launched.code == 0, tuning.launched.err
    plan = tuning.say("plan", "--format", "json").json
    assert [(arm["arm"], arm["state"], arm["tuned"]) for arm in plan["arms"]] == [
        (arm, "done", {"learning.learning_rate": 0.01}) for arm in ("baseline", "blocks=variant_4")
    ]
    assert len(list((tuning.runs / "toy-tuning/chosen").iterdir())) == 2
    trained = tuning.say("show", "--format", "json").json["arms"]
    assert [arm["spec"]["learning"]["learning_rate"] for arm in trained] == [0.01, 0.01]
    written = tuning.say("show", "--format", "json", "tune=null", "learning.learning_rate=0.01").json["arms"]
    assert [arm["identity"] for arm in written] == [arm["identity"] for arm in trained]


def test_what_was_chosen_is_told_wherever_results_are(tuning: Tuning) -> None:
    way = "learning.learning_rate by validation_loss of the weights themselves at step 3, seed 10000"
    chosen = f"tuned {way}: baseline 0.01; blocks=variant_4 0.01"
    edge = "warning: the best learning.learning_rate lies at the edge of the list for baseline (0.01), blocks=variant_4"
    report = tuning.runs / "toy/report"
    texts = {verb: " ".join(tuning.say(verb).out.split()) for verb in ("plan", "status", "table", "verdict")}
    texts |= {
        name: " ".join((report / name).read_text().split()) for name in ("verdict.txt", "report.html", "table.md")
    }
    for name, text in texts.items():
        assert chosen in text, name
        assert edge in text, name
    assert 'id="tuning"' in texts["report.html"]
    for told in (tuning.say("verdict", "--format", "json").json, json.loads((report / "verdict.json").read_text())):
        assert [one["values"] for one in told["tuned"].values()] == [{"learning.learning_rate": 0.01}] * 2
    assert set(tuning.say("status", "--format", "json").json["tuned"]["toy"]) == {"baseline", "blocks=variant_4"}
    assert chosen in tuning.say("table", "--format", "json").json["notes"]
    resolved = newest_resolved(tuning.runs / "toy")
    assert resolved is not None
    assert set(resolved.tuned) == {"baseline", "blocks=variant_4"}


def test_verbs_with_tuning_are_about_the_short_trainings(tuning: Tuning) -> None:
    rows = tuning.say("status", "--tuning", "--format", "json").json["replicates"]
    assert [(row["arm"], row["state"], row["step"]) for row in rows] == [(name, "done", 3) for name in TRIED]
    table = tuning.say("table", "--tuning", "--only", "learning_rate=*")
    assert "validation_loss" in table.out
    assert "variant_4" not in table.out
    assert f"table {tuning.file} --runs {tuning.runs} --tuning" in tuning.say("status", "--tuning").out
