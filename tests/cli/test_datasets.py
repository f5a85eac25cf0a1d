"""The four published data sets through the command line: prepared and trained on, warned of, and refused."""

import re
import shlex
from pathlib import Path

import pytest

from registry.parts.catalogue import catalogue
from registry.runs.machine import ROOT
from tests.cli.command import run
from tests.fixtures import made_sets
from tests.fixtures.made_sets import SETS, clips_of
from tests.fixtures.toy_replicates import TOY, write

# What each set's file has beside the toy experiment, and what `prepare` says of its miniature tree.
KEYS = {
    "face_forensics": "dataset: face_forensics",
    "sky_timelapse": "dataset: sky_timelapse\n    transform: center_square_then_resize",
    "taichi_hd": "dataset: taichi_hd",
    "ucf101": "dataset: {name: ucf101, split: 1}",
}
SAID = {
    "face_forensics": "expected 704 train, 150 val, 150 test, found 3 train, 1 val, 1 test: a part of the set",
    "sky_timelapse": "found 1 test, 3 train videos; its publishers state no count",
    "taichi_hd": "expected 3,049 train, 285 test, found 3 train, 1 test: a part of the set",
    "ucf101": "expected 13,320 videos in 101 classes, found 6 in 3: a part of the set",
}


def experiment(folder: Path, name: str) -> Path:
    """The toy experiment, two steps of one arm and one seed, on a published set."""
    classes = 3 if name == "ucf101" else 0
    text = TOY.replace("dataset: {name: moving_shapes, videos: 16, length: 8}", KEYS[name])
    for old, new in (
        ("classes: 2", f"classes: {classes}"),
        ("interval: 1", "interval: 3"),
        ("steps: 6, batch_size: 4", "steps: 2, batch_size: 2"),
        ("clips: 6", "clips: 2"),
        ("real_clips: 8", "real_clips: 2"),
    ):
        assert old in text
        text = text.replace(old, new)
    return write(folder, text.split("ablate:")[0] + "seeds: [0]\nfloors: []\n")


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_prepared_and_trains_two_steps_from_its_tree(
    tmp_path: Path, request: pytest.FixtureRequest, name: str
) -> None:
    root = SETS[name](tmp_path / "set", clips_of(request.config.getoption("--shared-data")))
    words = (experiment(tmp_path, name), f"data.path={root}", "--runs", tmp_path / "runs")
    prepared = run("prepare", *words, columns=1000)
    assert (prepared.code, prepared.err) == (0, ""), prepared.err
    assert SAID[name] in prepared.out
    launched = run("launch", *words, "--executor", "debug")
    assert launched.code == 0, launched.err
    (row,) = run("status", *words, "--format", "json").json["replicates"]
    assert (row["state"], row["step"]) == ("done", 2)


def test_check_explains_a_wrong_tree_at_the_key_and_refuses_classes(tmp_path: Path) -> None:
    file = experiment(tmp_path, "sky_timelapse")
    (tmp_path / "sky" / "sky_train" / "v").mkdir(parents=True)
    told = run("check", file, f"data.path={tmp_path / 'sky' / 'sky_train'}", "model.classes=3", columns=1000)
    assert told.code == 2
    assert f"one folder too low: give {tmp_path / 'sky'}." in told.err
    assert "model.classes: SkyTimelapse has no classes; leave model.classes at 0" in told.err
    assert "Traceback" not in told.err


def test_check_says_what_departs_from_the_official_code(tmp_path: Path) -> None:
    told = run("check", experiment(tmp_path, "sky_timelapse"), "data.flip=0.5", columns=1000)
    assert told.code == 0
    assert (
        "toy.yaml:6: warning: not how the official code reads sky_timelapse: data.resolution 16 for 256, "
        "data.antialias True for False, data.flip 0.5 for 0.0"
    ) in told.out


def test_prepare_of_a_tree_without_videos_ends_with_the_reason(tmp_path: Path) -> None:
    root = made_sets.face_forensics(tmp_path / "set", clips_of(tmp_path))
    for video in (root / "train" / "videos").iterdir():
        video.unlink()
    told = run("prepare", experiment(tmp_path, "face_forensics"), f"data.path={root}", "--runs", tmp_path / "runs")
    assert told.code == 2
    assert "train/videos: no video" in " ".join(told.err.split())
    assert "Traceback" not in told.err


PAGE = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_of_the_page_work(tmp_path: Path, request: pytest.FixtureRequest, command: str) -> None:
    words = shlex.split(command)
    assert words[:2] == ["python", "run.py"]
    for place, word in enumerate(words):
        if word.startswith("experiments/"):
            name = {"faceforensics": "face_forensics"}.get(Path(word).stem, Path(word).stem)
            SETS[name](tmp_path / "set", clips_of(request.config.getoption("--shared-data")))
        words[place] = word.replace("PATH", str(tmp_path / "set"))
    told = run(*words[2:])
    assert told.code == 0, told.err
    assert "warning" not in told.out


def test_the_page_has_the_presets_that_the_sets_state() -> None:
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in PAGE.splitlines() if line.startswith("|")]
    keys = next(row for row in rows if "resolution" in row)[1:]
    for name in SETS:
        preset = catalogue().find("dataset", name).fact("preset")
        written = dict(zip(keys, next(row for row in rows if row[0] == name and len(row) == 7)[1:], strict=True))
        if name == "taichi_hd":  # the page says that it has no transform, and why either will do
            assert written.pop("transform").startswith("none; on 256x256 either")
            preset = {key: value for key, value in preset.items() if key != "transform"}
        assert written == {key: f"{value:g}" if key == "flip" else str(value).lower() for key, value in preset.items()}
