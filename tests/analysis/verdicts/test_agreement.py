"""A claim judged in several scores: whether the verdicts agree is part of the answer, wherever answers are shown."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.results.results_frame import load
from analysis.tables.rendering import verdicts_table
from analysis.verdicts.agreement import agreements
from analysis.verdicts.judging import judge
from analysis.verdicts.verdict import Verdict
from experiments.plan.loading import load_plan
from registry.runs.replicate import Replicate
from tests.cli.command import run
from tests.fixtures.finished_runs import finish
from tests.fixtures.replicates import claim, replicates
from tests.fixtures.toy_replicates import TOY, write

MOTION, LOOKS = "fvd[transnet_v2]", "fvd[efficientnet_lite0]"
LOW, HIGH = [1.0, 2.0, 3.0, 4.0], [11.0, 12.5, 12.9, 14.2]
NOISY = [5.0, -3.0, 9.0, 1.0]


def answers_of(motion: tuple[list[float], list[float]], looks: tuple[list[float], list[float]]) -> list[Verdict]:
    """The answers to one claim in two scores, of arms a and b."""
    rows = replicates({"a": motion[0], "b": motion[1]}, MOTION)
    for row, other in zip(rows, replicates({"a": looks[0], "b": looks[1]}, LOOKS), strict=True):
        for key in ("scores", "protocols"):
            row["result"][key] |= other["result"][key]
    together = (MOTION, LOOKS)
    return judge(load(rows), [replace(claim(metric=metric), together=together) for metric in together])


@pytest.mark.parametrize(
    ("looks", "word", "told"),
    [
        ((LOW, HIGH), "agree", f"scores agree: {MOTION} supported, {LOOKS} supported"),
        ((HIGH, LOW), "disagree", f"scores disagree: {MOTION} supported, {LOOKS} contradicted"),
        ((NOISY, LOW), "open", f"{MOTION} supported, {LOOKS} undecided; the effects point different ways"),
        ((LOW, NOISY), "open", f"{MOTION} supported, {LOOKS} undecided; the effects point the same way"),
    ],
)
def test_verdicts_agree_disagree_or_stay_open(looks: tuple[list[float], list[float]], word: str, told: str) -> None:
    looks = (looks[0], [value + (1.0 if looks[1] is NOISY else 0.0) for value in looks[1]])
    answers = answers_of((LOW, HIGH), looks)
    (found,) = agreements(answers)
    assert found.word == word
    assert told in found.text
    whole = verdicts_table("made_up", answers, "table", 400)
    assert told in " ".join(whole.split())
    for answer in answers:  # each reason says of which score it speaks
        assert f"\na better than b in {answer.claim.metric}: {answer.verdict}: {answer.reason}\n" in whole
    assert told in " ".join(verdicts_table("made_up", answers, "table", 60).split())
    shown = json.loads(verdicts_table("made_up", answers, "json"))
    assert shown["agreements"][0]["agreement"] == word
    assert set(shown["agreements"][0]["verdicts"]) == {MOTION, LOOKS}


def test_every_score_is_in_the_family() -> None:
    """Two scores are two tests: each p is that of Holm over both."""
    both = answers_of((LOW, HIGH), (LOW, HIGH))
    (alone,) = judge(load(replicates({"a": LOW, "b": HIGH}, MOTION)), [claim(metric=MOTION)])
    assert both[0].p == pytest.approx(2 * alone.p)


def test_claims_in_one_score_have_nothing_to_agree() -> None:
    (alone,) = judge(load(replicates({"a": LOW, "b": HIGH}, MOTION)), [claim(metric=MOTION)])
    assert agreements([alone]) == []
    assert "agreements" not in json.loads(verdicts_table("made_up", [alone], "json"))
    assert f"\na better than b: {alone.verdict}: " in verdicts_table("made_up", [alone], "table", 400)


def test_verbs_report_and_scoreboard_say_it(tmp_path: Path) -> None:
    own, other = "fvd[moving_shapes_r3d]", "kvd[moving_shapes_r3d]"
    text = TOY.replace("seeds: [0, 1]", "seeds: [0, 1, 2]").split("claim:")[0]
    text += "claim: {axis: blocks, better: variant_1, worse: variant_4, metric: [fvd, kvd]}\n"

    def scores(replicate: Replicate) -> dict[str, float]:
        add = 5.0 + 0.01 * replicate.seed if "variant_4" in replicate.arm else 0.0
        return {own: 30.0 + replicate.seed + add, other: 40.0 + replicate.seed - add, "validation_loss": 0.5}

    file, runs = write(tmp_path, text), tmp_path / "runs"
    finish(load_plan(file, (), runs), scores)
    told = run("verdict", file, "--runs", runs)
    assert told.code == 0, told.err
    assert f"scores disagree: {own} supported, {other} contradicted" in " ".join(told.out.split())
    assert run("report", file, "--runs", runs).code == 0
    (page,) = (runs / "toy").rglob("report.html")
    assert f"scores disagree: {own} supported, {other} contradicted" in page.read_text(encoding="utf-8")
    paper = run("verdict", "--paper", "--runs", runs, "--format", "md").out
    assert f"| supported in {own} (disagree) |" in paper
    assert f"| contradicted in {other} (disagree) |" in paper
    rows = run("verdict", "--paper", "--runs", runs, "--format", "json").json
    (row,) = [row for row in rows if row["tests"]]
    assert (row["answer"], [test["agreement"] for test in row["tests"]]) == ("mixed", ["disagree", "disagree"])
