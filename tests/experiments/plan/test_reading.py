"""What a plan's run folders say belongs to the resolved experiment, not to its name."""

from pathlib import Path

from experiments.plan.loading import load_plan
from experiments.plan.reading import floors_of
from experiments.scores.floors import add_floors
from registry.runs.floors import owner_of
from registry.runs.records import Floor
from tests.fixtures.toy_replicates import write


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
