"""`nearest_training` and `fvd_test` through the command line: copies are told from real clips that were held out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.data.datasets.moving_shapes import MovingShapes
from tests.cli.command import Told, run
from tests.fixtures.made_sets import write_frames
from tests.fixtures.toy_replicates import TOY

NAME = "nearest_training[moving_shapes_r3d]"
TEST, GAP = "fvd_test[moving_shapes_r3d]", "fvd_gap[moving_shapes_r3d]"
FRAMES, SIDE = 8, 32


def moving_shapes(count: int, seed: int) -> list[np.ndarray]:
    """Clips uint8 (F, R, R, 3) of the made set."""
    made = MovingShapes(None, SIDE, videos=count, length=FRAMES, classes=4, seed=seed)
    found = {one.path: one.index for one in made.inspect(sorted(made.numbers))}
    return [made.reader(path, index).frames(list(range(FRAMES))) for path, index in found.items() if index is not None]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frame folders of two splits, and as samples: copies of training clips, and real clips that nobody trained on."""
    root = tmp_path_factory.mktemp("memory")
    training, held_out, honest = (moving_shapes(count, seed) for seed, count in enumerate((60, 24, 24)))
    for split, clips in (("train", training), ("test", held_out)):
        for number, clip in enumerate(clips):
            write_frames(root / "real" / split / f"{number:03d}", clip, side=SIDE)
    for name, clips in (("copies", [training[5 * k // 2] for k in range(24)]), ("honest", honest)):
        (root / name).mkdir()
        np.save(root / name / "clips.npy", np.stack(clips))
    return root


def score(root: Path, samples: str, *words: str, against: str = "real") -> Told:
    places = (root / samples, "--against", root / against, "--runs", root / "runs", "--out", root / f"{samples}-scores")
    return run("score", *places, "--metrics", "nearest_training,fvd_test", "--no-floors", f"frames={FRAMES}", *words)


def test_copies_are_told_from_honest_samples(root: Path) -> None:
    found: dict[str, Any] = {}
    gaps: dict[str, float] = {}
    for name, says in (("copies", "they look like copies"), ("honest", "no sign of copying")):
        told = score(root, name)
        assert told.code == 0, told.err
        assert f"{NAME}: samples" in told.out
        assert says in " ".join(told.out.split())
        found[name], test, gap = json.loads((root / f"{name}-scores/scores.json").read_text())["scores"]
        assert (found[name]["metric"], found[name]["details"]["n_held_out"]) == (NAME, 24)
        assert (test["metric"], gap["metric"]) == (TEST, GAP)
        assert test["details"]["n_held_out"] == gap["details"]["n_each"] == 24
        gaps[name] = gap["value"]
    assert found["copies"]["value"] < 1e-6  # the same pixels: 0 but for what a detector rounds in another batch
    assert found["honest"]["interval"][0] <= 1 <= found["honest"]["interval"][1]
    assert found["copies"]["protocol"] == found["honest"]["protocol"]
    assert gaps["copies"] > gaps["honest"]


def test_without_a_test_split_there_is_nothing_to_hold_samples_against(root: Path) -> None:
    told = score(root, "honest", against="real/train")
    assert told.code == 1
    assert "real clips that were held out of training, of the test split, and there are none" in told.err
    arrays = score(root, "honest", against="copies")
    assert (arrays.code, "clips in arrays, which are of no split" in arrays.err) == (1, True), arrays
    other = score(root, "honest", "split=test")
    assert (other.code, "leave split at train" in other.err) == (2, True), other


def test_an_experiment_scores_its_memory_and_says_what_the_number_means(tmp_path: Path) -> None:
    file = tmp_path / "toy.yaml"
    text = TOY.split("ablate:")[0].replace("real_clips: 8", "real_clips: 8, metrics: [fvd, nearest_training, fvd_test]")
    file.write_text(text + "seeds: [0]\nfloors: [real_halves]\n", encoding="utf-8")
    told = run("launch", file, "--runs", tmp_path / "runs", "--executor", "debug")
    assert told.code == 0, told.err
    (path,) = (tmp_path / "runs/toy").glob("baseline-*/seed-0/result.json")
    result = json.loads(path.read_text())
    details = result["score_details"][NAME]["details"]
    assert result["scores"][NAME] == pytest.approx(details["samples"] / details["held_out"])
    assert details["says"].startswith("samples")
    assert {TEST, GAP} <= set(result["scores"])
    assert result["score_details"][GAP]["interval"] is None  # of four clips
    assert result["protocol_specs"][result["protocols"][NAME]]["held_out"]["clips"] == 4
    assert "held_out" not in result["protocol_specs"][result["protocols"]["fvd[moving_shapes_r3d]"]]
    meaning = "nearest_training: 1: samples are as far from training clips as held-out real clips are"
    assert meaning in " ".join(run("table", file, "--runs", tmp_path / "runs").out.split())
    report = tmp_path / "runs/toy/report"
    assert meaning in (report / "report.html").read_text()
    assert meaning in (report / "table.md").read_text()
