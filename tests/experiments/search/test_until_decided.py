"""Seeds that are added until claims are decided, on made-up scores, wherever the controller dies."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import analysis
from analysis.verdicts import recorded_looks as looks_of
from experiments.launch.controller import Controller, Launched
from experiments.launch.launching import make_run_folders
from experiments.plan import until_decided as said_of
from experiments.plan.loading import load_plan
from experiments.plan.plan import Plan
from experiments.plan.reading import answers_of, frame_of
from experiments.plan.resolved_experiment import resolved
from experiments.plan.rows import rows
from experiments.record.recording import Recorder, open_again
from experiments.record.snapshot import Snapshot
from experiments.search import until_decided
from experiments.search.until_decided import AddingSeeds
from registry.runs.given_seeds import GivenSeeds, read_given
from registry.runs.looks import read_looks
from registry.runs.replicate import Replicate
from registry.runs.resolved_experiment import write_resolved
from tests.fixtures.fake_runs import CODE, Fuse, Killed
from tests.fixtures.toy_replicates import TOY, result_of

ARMS = "arms:\n" + "".join(
    f"  {arm}: {{learning.learning_rate: {rate}e-4}}\n" for rate, arm in enumerate(("far", "near", "same", "other"), 1)
)
CLAIMS = "claim:\n" + "".join(
    f"- {{axis: arms, better: {arm}, worse: baseline, metric: fvd}}\n" for arm in ("far", "near", "same")
)
SEEDS = "seeds: {first: 3, most: 6}\n"
EFFECTS = {"far": 30.0, "near": 1.1}  # in standard deviations of the noise
NAME = "fvd[moving_shapes_r3d]"
Outcome = Callable[[Replicate], float]


def score(replicate: Replicate) -> float:
    """Of an arm and a seed: far is much better, near a little, same by next to nothing."""
    order = ("baseline", *EFFECTS, "same", "other")
    noise = np.random.default_rng([17, order.index(replicate.arm), replicate.seed]).normal()
    return (
        100.0 - EFFECTS.get(replicate.arm, 0.0) + (0.05 * (-1) ** replicate.seed if replicate.arm == "same" else noise)
    )


class AtOnce:
    """An executor that makes up results; it dies by its fuse."""

    name, pause, detached = "fake", 0.0, False
    snapshot = Snapshot(Path(), "", False)

    def __init__(self, outcome: Outcome, fuse: Fuse) -> None:
        self.outcome, self.fuse = outcome, fuse
        self.made: list[str] = []

    def prepare(self, plan: Plan, replicates: Sequence[Replicate]) -> list[Replicate]:
        return list(replicates)

    def submit(self, replicates: Sequence[Replicate]) -> list[str]:
        for replicate in replicates:
            self.fuse.write(lambda one=replicate: self._make(one))
        return [replicate.name for replicate in replicates]

    def _make(self, replicate: Replicate) -> None:
        self.made.append(replicate.name)
        try:
            value = self.outcome(replicate)
        except ArithmeticError as error:
            return Recorder(replicate.training).event("failed", error=str(error))
        about = {"protocols": {NAME: "0123456789"}, "protocol_specs": {"0123456789": {}}}
        Recorder(replicate.folder).result(result_of(replicate, {NAME: value}, data_digest="d", seconds=1.0, **about))
        return None

    def poll(self) -> None:
        """All has ended."""

    def cancel(self, replicates: Sequence[Replicate]) -> None:
        raise NotImplementedError


def plan_of(folder: Path, *overrides: str, only: Sequence[str] = ()) -> Plan:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "toy.yaml"
    path.write_text(TOY[: TOY.index("ablate:")] + ARMS + CLAIMS + SEEDS + "floors: []\n", encoding="utf-8")
    return load_plan(path, overrides, folder / "runs", only)


def run(plan: Plan, outcome: Outcome = score, fuse: Fuse | None = None) -> tuple[list[str], list[str]]:
    """Launch to the end; the names of the replicates that were run, and what was said."""
    executor, said = AtOnce(outcome, fuse or Fuse()), list[str]()
    write_resolved(plan.folder, resolved(plan))
    launched = Launched(make_run_folders(plan, CODE))
    policy = AddingSeeds(plan, launched, said.append)
    Controller(executor, launched, lambda shown, states: None, said.append).run(policy, rounds=100)
    policy.tell_who_waits()
    return executor.made, said


def given(plan: Plan) -> dict[str, int]:
    """The seeds of each arm."""
    expected = plan.seeds_by_identity()
    return {arm.name: len(expected[arm.identity]) for arm in plan.arms}


def decided(plan: Plan) -> list[Any]:
    """All decisions but for their times."""
    return [made.model_dump(exclude={"time"}) for made in read_given(plan.folder)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, list[str], list[str]]:
    plan = plan_of(tmp_path_factory.mktemp("seeds"))
    return plan, *run(plan)


def test_arms_of_open_claims_alone_get_more_seeds(finished: tuple[Plan, list[str], list[str]]) -> None:
    plan, made, said = finished
    seeds = given(plan)
    first, *_, last = read_given(plan.folder)
    stages = {claim.says.split()[0]: (claim.stage, claim.seeds) for claim in last.claims}
    assert stages["far"] == ("decided", 3)
    assert stages["same"][0] in ("given up", "ended")
    assert (seeds["far"], seeds["other"]) == (3, 3)
    assert seeds["baseline"] == max(seeds.values()) == max(seeds["near"], seeds["same"]) > 3
    assert sorted(made) == sorted(replicate.name for replicate in plan.replicates)
    assert len(made) == sum(seeds.values()) == len(set(made))
    assert [claim.stage for claim in first.claims][:2] == ["decided", "open"]
    assert any("far better than baseline" in line and "decided at look 1 of 4" in line for line in said)
    assert not any(claim.stage == "open" for claim in last.claims)


def test_whoever_reads_agrees_on_the_seeds(finished: tuple[Plan, list[str], list[str]]) -> None:
    plan, *_ = finished
    expected = given(plan)
    assert frame_of(plan).groupby("arm").size().to_dict() == expected
    loaded = analysis.load(plan.folder)
    assert loaded.frame.groupby("arm").size().to_dict() == expected
    assert loaded.runs.groupby("arm").size().to_dict() == expected
    assert "3 to 6 seeds, until decided" in repr(loaded)
    answers = answers_of(plan)
    assert [own.verdict for own in loaded.verdict()] == [own.verdict for own in answers]
    assert [own.reason for own in loaded.verdict()] == [own.reason for own in answers]
    table = {row["arm"]: row for row in rows(plan)}
    assert {arm: len(row["seeds"]) for arm, row in table.items()} == expected
    assert {row["gpu_hours_left"] for row in table.values()} == {0}, "nothing is open, so nothing is to come"
    assert said_of.standing(plan)[0].endswith("0 of 3 claims are open")
    assert not said_of.goes_on(plan)


def test_verdicts_share_the_level_as_the_design_says(finished: tuple[Plan, list[str], list[str]]) -> None:
    plan, *_ = finished
    looks, _ = read_looks(plan.folder)
    shares = [claim.share for look in looks for claim in look.claims if claim.says.startswith("near")]
    assert shares[0] == pytest.approx((3 / 6) ** 2), "a fixed design would spend three quarters"
    assert sum(shares) <= 1 + 1e-9
    far = answers_of(plan)[0]
    assert far.verdict == "supported"
    assert far.as_json()["until_decided"] == {"stage": "decided", "seeds": 3, "chance": None, "next": None}
    assert "decided at look 1 of 4" in far.reason


def test_again_nothing_happens(finished: tuple[Plan, list[str], list[str]]) -> None:
    plan, *_ = finished
    before = decided(plan), len(read_looks(plan.folder)[0])
    assert run(plan) == ([], [])
    assert (decided(plan), len(read_looks(plan.folder)[0])) == before


@pytest.mark.parametrize("how", ["before", "after"])
def test_a_controller_killed_at_any_write_ends_as_undisturbed(
    finished: tuple[Plan, list[str], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    whole = decided(finished[0])
    write, record = until_decided.write_given, looks_of.record_look
    for writes in range(len(finished[1]) - 1, len(finished[1]) + 2 * len(whole), 3):
        plan = plan_of(tmp_path / str(writes))
        die = Fuse(writes, how)
        with monkeypatch.context() as patched:
            patched.setattr(until_decided, "write_given", partial(_through, die, write))
            patched.setattr(looks_of, "record_look", partial(_through, die, record))
            with pytest.raises(Killed):
                run(plan, fuse=die)
        run(plan)
        assert decided(plan) == whole


def _through(fuse: Fuse, write: Callable[..., Any], *words: Any) -> Any:
    return fuse.write(lambda: write(*words))


def test_a_claim_of_a_failed_replicate_waits_and_the_others_go_on(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)

    def failing(replicate: Replicate) -> float:
        if (replicate.arm, replicate.seed) == ("near", 1):
            raise ArithmeticError("the loss is not finite")
        return score(replicate)

    _, said = run(plan, failing)
    (near,) = (claim for claim in read_given(plan.folder)[-1].claims if claim.says.startswith("near"))
    assert (near.stage, given(plan)["near"]) == ("waits", 3)
    assert any("near better than baseline" in line and "1 of 3 seeds of arm 'near' not done" in line for line in said)
    assert given(plan)["same"] > 3
    open_again(next(one for one in plan.replicates if (one.arm, one.seed) == ("near", 1)))
    run(plan)
    assert given(plan)["near"] > 3
    assert not said_of.goes_on(plan)


def test_what_is_not_selected_is_waited_for(tmp_path: Path) -> None:
    made, said = run(plan_of(tmp_path, only=["baseline", "near"]))
    assert {name.split()[0] for name in made} == {"baseline", "near"}
    assert said[-1].endswith("wait for far, same, other; launch these as well")
    run(plan_of(tmp_path))
    assert not said_of.goes_on(plan_of(tmp_path))


def test_a_decision_that_is_damaged_follows_again(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    run(plan)
    whole = decided(plan)
    newest = sorted((plan.folder / "seeds").glob("0*.json"))[-1]
    newest.write_text("{torn", encoding="utf-8")
    assert len(decided(plan)) == len(whole) - 1
    assert run(plan)[0] == []
    assert [made | {"number": 0} for made in decided(plan)] == [made | {"number": 0} for made in whole]


def test_a_claim_that_is_added_reopens_arms(tmp_path: Path) -> None:
    run(plan_of(tmp_path, "claim=[{axis: arms, better: far, worse: baseline, metric: fvd}]"))
    plan = plan_of(tmp_path)
    assert max(len(row["possible_seeds"]) for row in rows(plan)) == 6
    run(plan)
    assert given(plan)["near"] > 3


def test_plan_says_what_it_may_cost(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "resources.tflops=1e-6")
    table = rows(plan)
    assert {row["arm"]: len(row["possible_seeds"]) for row in table} == {
        "baseline": 6, "far": 6, "near": 6, "same": 6, "other": 3,
    }  # fmt: skip
    costs = said_of.expected(plan, table)
    simulated = [own["gpu_hours"] for own in costs["effects"]]
    assert costs["first"] <= min(simulated) <= max(simulated) < costs["most"]
    assert costs["most"] == pytest.approx(sum(row["gpu_hours"] for row in table))
    assert costs["first"] == pytest.approx(sum(row["gpu_hours"] * 3 / len(row["possible_seeds"]) for row in table))
    assert all(3 <= own["seeds"] <= 6 for own in costs["effects"])


def test_another_design_is_another_resolved_experiment_with_the_same_arms(tmp_path: Path) -> None:
    listed, three = (resolved(plan_of(tmp_path, word)) for word in ("seeds=[0, 1, 2]", "seeds.most=8"))
    plain = resolved(plan_of(tmp_path))
    assert len({listed.digest, three.digest, plain.digest}) == 3
    assert listed.arms == plain.arms
    assert (listed.until_decided, plain.seeds) == (None, tuple(range(6)))
    assert json.loads(plain.model_dump_json())["until_decided"] == {"first": 3, "most": 6, "every": 1}


def test_seeds_that_were_given_are_kept_by_a_design_that_ends_earlier() -> None:
    from registry.runs.given_seeds import seeds_by_identity
    from registry.schema.seeds import UntilDecided

    design = UntilDecided(first=3, most=4)
    decisions = [GivenSeeds(design=UntilDecided(first=2, most=9), given={"a": 7, "b": 2, "gone": 5})]
    assert seeds_by_identity(design, ["a", "b", "c"], decisions) == {
        "a": (0, 1, 2, 3), "b": (0, 1, 2), "c": (0, 1, 2),
    }  # fmt: skip
