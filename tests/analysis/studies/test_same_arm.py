import json
import sys

import numpy as np
import pytest

from analysis.studies import same_arm
from registry.errors import RunError


def arm_folder(folder, scores):
    for seed, score in enumerate(scores):
        own = folder / "runs" / "toy" / "baseline-abc" / f"seed-{seed}"
        own.mkdir(parents=True)
        result = {
            "scores": {"fvd": score, "validation_loss": score / 100},
            "data_digest": "d",
            "protocols": {"fvd": "p"},
        }
        (own / "result.json").write_text(json.dumps(result), encoding="utf-8")
    return folder / "runs" / "toy" / "baseline-abc"


def test_an_arm_is_set_against_itself_in_halves(tmp_path):
    scores = np.random.default_rng(0).normal(100, 5, size=9).tolist()
    frame = same_arm.load_arm(arm_folder(tmp_path, scores))
    assert frame["fvd"].tolist() == scores[:8]  # the ninth has no partner
    assert frame["arm"].tolist() == ["first"] * 4 + ["second"] * 4
    assert frame["seed"].tolist() == [0, 1, 2, 3] * 2


def test_the_halves_are_the_first_and_the_last_seeds_by_number(tmp_path):
    frame = same_arm.load_arm(arm_folder(tmp_path, [float(seed) for seed in range(12)]))
    assert frame["fvd"].tolist() == [float(seed) for seed in range(12)]


def test_noise_gets_few_false_verdicts_and_two_levels_many(tmp_path, monkeypatch):
    monkeypatch.setattr(same_arm, "SHUFFLES", 200)
    noise = np.random.default_rng(1).normal(100, 5, size=10)
    frame = same_arm.load_arm(arm_folder(tmp_path, noise.tolist()))
    found = same_arm.against_itself(frame, "fvd")
    assert found.false_share < 0.12
    assert (found.mean, found.sd) == (pytest.approx(noise.mean()), pytest.approx(noise.std(ddof=1)))
    moved = frame.assign(fvd=noise + np.repeat([0, 40], 5))
    assert same_arm.against_itself(moved, "fvd").verdict != "undecided"


def test_the_command_writes_its_table_between_the_marks(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(same_arm, "SHUFFLES", 20)
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- aa-experiment: begin -->\n<!-- aa-experiment: end -->\nb\n", encoding="utf-8")
    folder = arm_folder(tmp_path, [1.0, 2.0, 4.0, 3.0])
    monkeypatch.setattr(sys, "argv", ["same_arm", str(folder), "--out", str(page)])
    same_arm.main()
    text = page.read_text(encoding="utf-8")
    assert "| fvd " in text
    assert "| validation_loss " in text
    assert "first 2 seeds against its last 2" in text
    assert text.startswith("a\n<!-- aa-experiment: begin -->")
    assert text.endswith("<!-- aa-experiment: end -->\nb\n")


def test_too_few_seeds_are_refused(tmp_path):
    with pytest.raises(RunError, match="3 finished seeds; two halves"):
        same_arm.load_arm(arm_folder(tmp_path, [1.0, 2.0, 3.0]))
