"""Arms that are matched in several ways, from the file to the verdict on the command line."""

from pathlib import Path

from experiments.plan.loading import load_plan
from registry.runs.replicate import Replicate
from registry.runs.resolved_experiment import digest_of
from tests.cli.command import run
from tests.fixtures.finished_runs import finish
from tests.fixtures.toy_replicates import TOY, write

HEAD = TOY[: TOY.index("ablate:")].replace("depth: 2", "depth: 8")
REST = """ablate: {model.blocks: [variant_1, variant_4]}
seeds: [0, 1, 2]
claim: {axis: blocks, better: variant_1, worse: variant_4, metric: fvd}
"""
WAYS = "match={steps: true, parameters: 20%}"
MATCHED = "blocks=variant_4,matched=parameters"


def score(replicate: Replicate) -> dict[str, float]:
    """variant_4 is worse by 6 as it is written, and better by as much at equal parameters."""
    worse = {"blocks=variant_4": 6.0, MATCHED: -6.0}.get(replicate.arm, 0.0)
    return {"fvd[moving_shapes_r3d]": 50.0 + replicate.seed + worse * (1 + 0.02 * replicate.seed)}


def test_a_claim_is_answered_for_each_way_of_matching(tmp_path: Path) -> None:
    path, runs = write(tmp_path, HEAD + REST), tmp_path / "runs"
    finish(load_plan(path, [WAYS], runs=runs), score)
    told = run("verdict", path, WAYS, "--runs", runs, "--format", "json").json["claims"]
    assert [(claim["verdict"], claim["matched"]) for claim in told] == [
        ("supported", ["steps"]),
        ("contradicted", ["parameters"]),
    ]
    shown = " ".join(run("verdict", path, WAYS, "--runs", runs).out.split())
    assert "variant_1 better than variant_4, matched by steps: supported" in shown
    assert "variant_1 better than variant_4, matched by parameters: contradicted" in shown
    together = "variant_1 better than variant_4 in fvd[moving_shapes_r3d]: "
    assert f"{together}at equal steps supported, at equal parameters contradicted" in shown
    assert run("report", path, WAYS, "--runs", runs).code == 0
    (page,) = runs.glob("*/reports/*/report.html")
    assert '<th scope="col">at equal parameters</th>' in page.read_text()
    (row,) = (
        row for row in run("plan", path, WAYS, "--runs", runs, "--format", "json").json["arms"] if row["arm"] == MATCHED
    )
    assert row["axes"] == {"blocks": "variant_4", "matched": "parameters"}
    assert row["depth"] < 8
    # The arms of the file as it is are among them, so that nothing is run again for the one or the other.
    plain = run("status", path, "--runs", runs, "--format", "json").json["replicates"]
    assert {one["state"] for one in plain} == {"done"}


def test_what_older_folders_are_called_by_does_not_change(tmp_path: Path) -> None:
    plan = load_plan(write(tmp_path, HEAD + REST), runs=tmp_path / "runs")
    assert digest_of({"baseline": "a"}, [0], plan.claims) == "36352406c8"
