"""`score` as people call it: the same numbers by any processes and batches, exit codes, other verbs beside."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from registry.runs.records import sealed
from tests.cli.command import Launched, Told, contents, run
from tests.fixtures.made_videos import gradient_frames, write_video

FAST = ("detector=random_r3d", "detector.width=4", "frames=4")
SCORES = ["fvd[random_r3d]", "kvd[random_r3d]"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples as video files, JPEG and PNG frames; real video files, one of them corrupt."""
    root = tmp_path_factory.mktemp("score")
    for number in range(3):
        write_video(root / "fake" / f"{number}.mp4", gradient_frames(9, 32, 32, seed=50 + number))
        for ending in ("jpg", "png"):
            folder = root / "fake" / f"{ending}-{number}"
            folder.mkdir()
            for place, frame in enumerate(gradient_frames(8, 32, 32, seed=60 + number)):
                Image.fromarray(frame).save(folder / f"{place:03d}.{ending}")
    for number in range(9):
        write_video(root / "real" / f"{number}.mp4", gradient_frames(10 + number, 32, 32, seed=number))
    (root / "real" / "corrupt.mp4").write_bytes(b"no video")
    return root


def score(root: Path, runs: str, *words: object) -> Told:
    return run("score", root / "fake", "--against", root / "real", "--runs", root / runs, *FAST, *words)


def numbers(found: Any) -> Any:
    """All of scores.json that is measured."""
    return {key: found[key] for key in ("scores", "protocols", "protocol_specs", "failed")}


@pytest.fixture(scope="module")
def first(root: Path) -> Any:
    told = score(root, "runs-1-8", "--processes", 1)
    assert told.code == 0, told.err
    for word in (*SCORES, "floor: real halves", "1 entries rejected", "corrupt.mp4", "curve.png"):
        assert word in told.out, told.out
    (out,) = (root / "runs-1-8" / "_scores").glob("fake-against-real-*")
    assert (out / "curve.png").stat().st_size > 1000
    return json.loads((out / "scores.json").read_text())


def test_scores_json_has_what_is_needed_to_trust_a_number(first: Any) -> None:
    assert [row["metric"] for row in first["scores"]] == SCORES
    for row in first["scores"]:
        assert (row["n_fake"], row["n_real"]) == (9, 9)
        assert np.isfinite(row["value"])
        assert row["protocol"] in first["protocol_specs"]
        assert set(row["floors"]) == {"real_halves"}
        assert len(row["curve"]) >= 2
        assert "interval" in row
    assert first["against"]["rejected"][0][0] == "corrupt.mp4"
    assert first["samples"]["rejected"] == []
    assert first["cautions"] == []  # that detector has nothing to say


@pytest.mark.parametrize(("processes", "batch"), [(2, 7), (3, 1)])
def test_processes_and_batches_change_no_digit(root: Path, first: Any, processes: int, batch: int) -> None:
    """Each in a folder of runs of its own, so that everything is measured."""
    out = root / f"out-{processes}-{batch}"
    told = score(root, f"runs-{processes}-{batch}", "--processes", processes, "--batch-size", batch, "--out", out)
    assert told.code == 0, told.err
    assert numbers(json.loads((out / "scores.json").read_text())) == numbers(first)
    assert (out / "curve.png").exists()


def test_a_second_run_says_the_same(root: Path, first: Any) -> None:
    stamps = {path: path.stat().st_mtime_ns for path in (root / "runs-1-8" / "_data").rglob("*.npy")}
    told = score(root, "runs-1-8", "--processes", 2, "--batch-size", 3, "--format", "json")
    assert told.code == 0, told.err
    assert numbers(told.json) == numbers(first)
    assert {path: path.stat().st_mtime_ns for path in (root / "runs-1-8" / "_data").rglob("*.npy")} == stamps


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--protocol", "claen"), 2, "did you mean 'clean'?"),
        (("frmaes=8",), 2, "did you mean 'frames'?"),
        (("--metrics", "fvd,kdv"), 2, "did you mean 'kvd'"),
        (("frames=11",), 1, "9 are shorter than the 11 frames"),
    ],
)
def test_what_is_wrong_is_one_line_and_writes_no_scores(
    root: Path, first: Any, words: tuple[str, ...], code: int, told: str
) -> None:
    before = contents(root / "runs-1-8" / ("" if code == 2 else "_scores"))
    found = score(root, "runs-1-8", *words)
    assert (found.code, found.out if code == 2 else "") == (code, "")
    (line,) = [line for line in found.err.splitlines() if line]
    assert told in line
    assert contents(root / "runs-1-8" / ("" if code == 2 else "_scores")) == before


def test_an_empty_folder_is_told(root: Path, tmp_path: Path) -> None:
    found = run("score", tmp_path, "--against", root / "real", "--runs", tmp_path / "runs", *FAST)
    assert (found.code, found.out) == (1, "")
    assert found.err == f"{tmp_path}: is empty\n"


# ---------------------------------------------------------------- beside a launched experiment


def test_a_run_is_scored_and_its_protocol_compared(root: Path, first: Any, launched: Launched, tmp_path: Path) -> None:
    run_folder = sorted((launched.runs / "toy").glob("baseline-*/seed-0"))[0]
    told = run("score", run_folder, "--against", root / "real", "--runs", root / "runs-1-8", "--protocol", "clean",
               "resolution=16", *FAST, "--out", tmp_path, "--format", "json")  # fmt: skip
    assert told.code == 0, told.err
    assert told.json["samples"]["clips"] == 6
    assert [row["metric"] for row in told.json["scores"]] == SCORES
    shown = run("protocol", "show", run_folder, "--format", "json")
    assert set(shown.json) == {"fvd[moving_shapes_r3d]", "kvd[moving_shapes_r3d]"}
    (other,) = (root / "runs-1-8" / "_scores").glob("fake-against-real-*/scores.json")
    rows = run("protocol", "diff", other, tmp_path / "scores.json", "--format", "json").json
    resized = [f"pixels.{key}" for key in ("resolution", "transform", "kernel", "antialias")]
    assert {row["key"] for row in rows} == {f"{score}: {key}" for score in SCORES for key in ("fake.clips", *resized)}


def test_a_run_is_scored_by_its_own_protocol(root: Path, launched: Launched, tmp_path: Path) -> None:
    run_folder = sorted((launched.runs / "toy").glob("baseline-*/seed-0"))[0]
    samples = run_folder / "samples"  # its other name
    told = run("score", samples, "--against", root / "real", "--runs", tmp_path, "--no-floors", "--format", "json")
    assert told.code == 0, told.err
    assert told.json["protocol"] == json.loads((run_folder / "result.json").read_text())["protocol"]
    assert {row["metric"] for row in told.json["scores"]} == {"fvd[moving_shapes_r3d]", "kvd[moving_shapes_r3d]"}
    assert not any("real_halves" in row["floors"] for row in told.json["scores"])
    (caution,) = told.json["cautions"]  # the detector's own words
    assert caution.startswith("[moving_shapes_r3d] orders samples, offline; comparable to published numbers is ")


@pytest.mark.parametrize("verb", ["table", "verdict"])
def test_other_fingerprints_are_refused_with_the_difference(launched: Launched, verb: str) -> None:
    """As if one arm had been scored by another protocol."""
    path = sorted((launched.runs / "toy").glob("blocks=variant_4-*/seed-0/result.json"))[0]
    before = path.read_text()
    result = {key: value for key, value in json.loads(before).items() if key != "sha256"}
    try:
        for name, mark in list(result["protocols"].items()):
            bound = result["protocol_specs"].pop(mark)
            bound["real"]["interval"] = 3
            result["protocol_specs"][f"f{mark[1:]}"] = bound
            result["protocols"][name] = f"f{mark[1:]}"
        path.write_text(json.dumps(sealed(result)))
        told = launched.verbs(verb)
        assert "real.interval" in told.out + told.err, told
        if verb == "table":
            assert (told.code, told.out) == (1, ""), told
            assert "cannot be compared" in told.err
    finally:
        path.write_text(before)
    assert launched.verbs(verb).code == 0
