"""`seeds: {first: …, most: …}` from the file to the verdict, with a controller that is killed between two looks."""

import json
from pathlib import Path

import pytest

from tests.cli.command import Told, run
from tests.cli.test_two_launchers import kill_with_all_that_it_started, launch
from tests.fixtures.toy_replicates import TOY
from tests.waiting import until

CLAIM = "claim: {axis: learning_rate, better: 0.001, worse: 1e-05, metric: validation_loss}\n"
TEXT = TOY[: TOY.index("ablate:")] + "floors: []\nablate: {learning.learning_rate: [0.001, 1e-05]}\n" + CLAIM
FIRST, MOST = 2, 5


class Killed:
    """An experiment whose launch was killed behind its first look, and launched again."""

    def __init__(self, folder: Path) -> None:
        self.file, self.runs = folder / "toy.yaml", folder / "runs"
        self.file.write_text(f"{TEXT}seeds: {{first: {FIRST}, most: {MOST}}}\n", encoding="utf-8")
        self.before = self.verb("plan", "--format", "json").json
        self.table = self.verb("plan").out
        self.status = self.verb("status").out
        killed = launch(self.file)
        until(lambda: self.decisions, "the first look is taken", killed)
        kill_with_all_that_it_started(killed)
        self.first = self.decisions[0].read_bytes()
        self.between = self.verb("status").out
        self.told = self.verb("launch", python=())

    def verb(self, name: str, *words: str, python: tuple[str, ...] | None = None) -> Told:
        return run(name, self.file, *words, "--runs", self.runs, python=python)

    @property
    def decisions(self) -> list[Path]:
        return sorted((self.runs / "toy" / "seeds").glob("0*.json"))


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    return Killed(tmp_path_factory.mktemp("until_decided"))


def test_plan_says_the_expected_and_the_worst_cost(killed: Killed) -> None:
    assert [arm["seeds"] for arm in killed.before["arms"]] == [list(range(FIRST))] * 2
    assert [arm["possible_seeds"] for arm in killed.before["arms"]] == [list(range(MOST))] * 2
    costs = killed.before["until_decided"]["toy"]
    assert [own["effect_in_sd"] for own in costs["effects"]] == [0, 1, 2]
    assert all(FIRST <= own["seeds"] <= MOST for own in costs["effects"])
    words = " ".join(killed.table.split())
    assert "seeds: 2 to 5, until the claims are decided, with looks at 2, 3, 4, 5" in words
    assert "at most: with every seed that may be added" in words


def test_status_says_at_which_look_it_stands(killed: Killed) -> None:
    assert "seeds: look 1 of 4, with 2 seeds, is still to come" in killed.status
    assert "seeds: look 1 of 4 was taken: 1 of 1 claims is open" in killed.between
    assert "judged next with 3" in " ".join(killed.between.split())
    now = killed.verb("status")
    assert "0 of 1 claims are open" in now.out
    assert "next:" in now.out
    assert " verdict " in now.out
    decisions = killed.verb("status", "--format", "json").json["until_decided"]["toy"]
    assert [made["number"] for made in decisions] == list(range(1, len(decisions) + 1))


def test_the_same_command_goes_on_with_the_same_decisions(killed: Killed) -> None:
    assert killed.told.code == 0, killed.told.err
    assert killed.decisions[0].read_bytes() == killed.first
    last = json.loads(killed.decisions[-1].read_text())
    (claim,) = last["claims"]
    assert claim["stage"] == "decided"
    assert FIRST < claim["seeds"] <= MOST
    assert set(last["given"].values()) == {claim["seeds"]}
    table = killed.verb("table", "--format", "json").json
    assert [(row["done"], row["planned"]) for row in table["arms"]] == [(claim["seeds"], claim["seeds"])] * 2
    before = [path.read_bytes() for path in killed.decisions]
    again = killed.verb("launch", python=())
    assert again.code == 0
    assert "seeds:" not in again.out
    assert [path.read_bytes() for path in killed.decisions] == before


def test_the_verdict_says_at_which_look_it_was_decided(killed: Killed) -> None:
    (claim,) = killed.verb("verdict", "--format", "json").json["claims"]
    assert claim["verdict"] == "supported"
    stage = claim["until_decided"]
    assert (stage["stage"], stage["next"]) == ("decided", None)
    assert claim["looks"][0]["share"] == pytest.approx((FIRST / MOST) ** 2)
    assert f"decided at look {stage['seeds'] - FIRST + 1} of 4" in claim["reason"]
    assert claim["reason"] in (killed.runs / "toy" / "report" / "verdict.json").read_text()
    resolved = json.loads((killed.runs / "toy" / "report" / "experiment.json").read_text())
    assert resolved["until_decided"] == {"first": FIRST, "most": MOST, "every": 1}


def test_a_design_on_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "toy.yaml"
    file.write_text(TEXT, encoding="utf-8")
    told = run(
        "plan", file, "seeds={first: 3, most: 6}", "seeds.every=3", "--runs", tmp_path / "runs", "--format", "json"
    )
    assert [arm["seeds"] for arm in told.json["arms"]] == [[0, 1, 2]] * 2
    refused = run("check", file, "seeds={first: 3, most: 6}", "claim=[]", "--runs", tmp_path / "runs")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("command line: seeds: there is no claim to be decided")
    slow = ("resources.tflops=1e-9", "--max-gpu-hours", "1e-3", "--runs", tmp_path / "runs")
    over = run("launch", file, "seeds={first: 3, most: 6}", *slow)
    assert over.code == 2
    assert "costs at most about" in over.err
