"""A claim about one axis of a grid, from the file to the verdict on the command line."""

from pathlib import Path

from experiments.plan.loading import load_plan
from registry.runs.replicate import Replicate
from tests.cli.command import run
from tests.fixtures.finished_runs import finish
from tests.fixtures.toy_replicates import TOY, write

HEAD = TOY[: TOY.index("ablate:")]
AXES = "grid: {model.blocks: [variant_1, variant_4], model.patch: [2, 4]}\nseeds: [0, 1, 2]\n"
CLAIM = "claim: {axis: blocks, better: variant_4, worse: variant_1, metric: fvd}\n"
METRIC = "fvd[moving_shapes_r3d]"


def score(replicate: Replicate) -> dict[str, float]:
    """With patches of 2, the baseline's, variant_4 is better by 6; with those of 4 it is worse by as much."""
    sign = {"2": 1.0, "4": -1.0}[replicate.axes["patch"]]
    better = sign * (6.0 + 0.1 * replicate.seed) if replicate.axes["blocks"] == "variant_4" else 0.0
    return {METRIC: 50.0 + replicate.seed + 0.01 * replicate.seed**2 * sign - better}


def test_a_claim_on_an_axis_of_a_grid_judges_the_main_effect_and_says_so(tmp_path: Path) -> None:
    path, runs = write(tmp_path, HEAD + AXES + CLAIM), tmp_path / "runs"
    finish(load_plan(path, runs=runs), score)
    (told,) = run("verdict", path, "--runs", runs, "--format", "json").json["claims"]
    assert (told["verdict"], told["n"]) == ("undecided", 3)
    assert abs(told["effect"]) < 0.1  # the baseline's slice by itself is better by 6
    assert (told["averaged_over"], told["at"]) == ({"patch": ["2", "4"]}, {})
    assert [point["at"] for point in told["points"]] == [{"patch": "2"}, {"patch": "4"}]
    shown = run("verdict", path, "--runs", runs)
    assert "variant_4 better than variant_1, averaged over patch in 2, 4: undecided" in shown.out
    assert "averaged over patch in 2, 4" in run("plan", path, "--runs", runs).out
    one_slice = run("verdict", path, "--runs", runs, "--only", "!*patch=4*")
    assert one_slice.code == 0
    assert "--only leaves out arms of 1 claim" in one_slice.out


def test_ablate_judges_as_ever(tmp_path: Path) -> None:
    path, runs = write(tmp_path, HEAD + AXES.replace("grid", "ablate") + CLAIM), tmp_path / "runs"
    finish(load_plan(path, runs=runs), score)
    (told,) = run("verdict", path, "--runs", runs, "--format", "json").json["claims"]
    assert (told["verdict"], round(told["effect"])) == ("supported", 6)
    assert "averaged_over" not in told
