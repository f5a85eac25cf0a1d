"""What a plan's run folders say belongs to the resolved experiment, not to its name."""

from pathlib import Path

from experiments.plan.loading import load_plan
from experiments.plan.reading import answers_of, floors_of
from experiments.scores.floors import add_floors
from registry.runs.floors import owner_of
from registry.runs.records import Floor
from tests.fixtures.finished_runs import finish
from tests.fixtures.toy_replicates import TOY, write


def test_a_floor_resampled_from_another_experiment_of_the_name_is_left_out(tmp_path: Path) -> None:
    file, runs = write(tmp_path), tmp_path / "runs"
    plan, other = load_plan(file, runs=runs), load_plan(file, ["learning.steps=7"], runs)
    own, foreign = (owner_of(one.replicates[0]) for one in (plan, other))
    kinds = [("real_halves", ""), ("reconstruction", "pixels-2"), ("resampled", own), ("resampled", foreign)]
    add_floors(plan.folder, [
        Floor(floor=kind, metric="fvd", protocol="a" * 10, of=of, values=[1.0], n_fake=6, n_real=8)
        for kind, of in kinds
    ])  # fmt: skip
    assert [(floor["floor"], floor["of"]) for floor in floors_of(plan)] == kinds[:3]
    assert [floor["of"] for floor in floors_of(other)] == ["", "pixels-2", foreign]


def test_selecting_arms_makes_no_claim_easier(tmp_path: Path) -> None:
    """All claims of an experiment are one family, whichever of them are shown."""
    arms = "arms: {a: {learning.learning_rate: 1e-4}, b: {learning.learning_rate: 2e-4}, c: {model.depth: 4}}\n"
    claims = "claim:\n" + "".join(f"- {{axis: arms, better: {arm}, worse: baseline, metric: fvd}}\n" for arm in "abc")
    text = TOY.split("ablate:")[0] + f"seeds: [0, 1, 2, 3]\nfloors: []\n{arms}{claims}"
    path = write(tmp_path, text)
    noise = (0.0, 1.1, -0.7, 0.4)
    plan = load_plan(path, (), tmp_path / "runs")
    effect = {
        "a": [own - 2.0 for own in noise],
        "b": [one / 9 for one in noise],
        "c": [one / 9 for one in noise],
    }
    finish(plan, lambda own: {"fvd[moving_shapes_r3d]": 30.0 + own.seed + effect.get(own.arm, [0.0] * 4)[own.seed]})
    (shown,) = answers_of(load_plan(path, (), tmp_path / "runs", ["baseline", "a"]), selected=True)
    every = answers_of(plan)
    assert shown.claim.arms == every[0].claim.arms
    assert (shown.p, shown.verdict) == (every[0].p, every[0].verdict)
