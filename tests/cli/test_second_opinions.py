"""A second opinion where a user meets it: launched, scored, in the table, in the verdict."""

import json
from pathlib import Path

import numpy as np

from tests.cli.command import run
from tests.fixtures.toy_replicates import TOY, write

OWN, OTHER = "[moving_shapes_r3d]", "[random_r3d]"


def test_a_launch_scores_by_both_and_one_claim_is_judged_by_both(tmp_path: Path) -> None:
    text = TOY.replace(
        "scoring: {real_clips: 8}", "scoring: {real_clips: 8, second_opinions: [{name: random_r3d, width: 2}]}"
    ).replace("metric: fvd}", 'metric: [fvd, "fvd[random_r3d]", kvd]}')
    file, runs = write(tmp_path, text), tmp_path / "runs"
    told = run("launch", file, "--executor", "debug", "--runs", runs)
    assert told.code == 0, told.err
    results = [json.loads(path.read_text()) for path in (runs / "_trainings").rglob("result.json")]
    assert len(results) == 4
    both = {base + end for base in ("fvd", "kvd") for end in (OWN, OTHER)}
    for result in results:
        assert both <= set(result["scores"])
        assert len({result["protocols"][name] for name in both}) == 4  # each with its own fingerprint
    rows = run("table", file, "--runs", runs, "--format", "json").json["floors"]
    assert all(any(row.get(name) is not None for row in rows) for name in both)
    verdict = run("verdict", file, "--runs", runs, "--format", "json").json
    assert [one["metric"] for one in verdict["claims"]] == [f"fvd{OWN}", f"fvd{OTHER}", f"kvd{OWN}"]
    (together,) = verdict["agreements"]
    assert set(together["verdicts"]) == {f"fvd{OWN}", f"fvd{OTHER}", f"kvd{OWN}"}
    assert together["agreement"] in ("agree", "disagree", "open")


def test_score_measures_by_both(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for name in ("samples", "real"):
        folder = tmp_path / name
        folder.mkdir()
        np.save(folder / "clips.npy", draw.integers(0, 256, (6, 4, 16, 16, 3), dtype=np.uint8))
    told = run(
        "score", tmp_path / "samples", "--against", tmp_path / "real", "--format", "json", "--no-floors",
        "--runs", tmp_path / "runs", "frames=4", "second_opinions=[{name: random_r3d, width: 2}]",
    )  # fmt: skip
    assert told.code == 0, told.err
    both = {base + end for base in ("fvd", "kvd") for end in (OWN, OTHER)}
    assert {row["metric"] for row in told.json["scores"]} >= both
    assert [one.split("]")[0] for one in told.json["cautions"]] == ["[moving_shapes_r3d"]
