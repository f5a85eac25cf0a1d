"""Captions come with sampled and real clips to the metric, in an experiment and when its run is scored again."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.data.shapes import read_caption
from experiments.launch.launching import launch_all
from experiments.sampling.sample_files import SampleFiles, files_of
from experiments.scores.score_folders import request_of, score_folders
from registry.errors import RunError
from registry.runs.floors import read_floors
from registry.runs.replicate import Replicate
from tests.fixtures.toy_replicates import nothing, plan_of

SHARES = ("caption_accuracy", "colour_accuracy", "shape_accuracy", "direction_accuracy")


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Replicate, Path]:
    """A finished run of two steps with a class for each of 8 captions, and its experiment's folder."""
    plan = plan_of(
        tmp_path_factory.mktemp("captions"),
        "data.dataset={name: captioned_shapes, videos: 32, length: 8, colours: 2, directions: 2}",
        *("model.classes=8", "learning.steps=2", "sampling.clips=10", "scoring.metrics=[caption_accuracy]"),
        *("ablate={}", "claim=[]", "seeds=[0]", "floors=[real_halves]", "scoring.real_clips=24"),
    )
    (replicate,) = launch_all(plan, "debug", nothing, lambda todo, states: None).todo
    return replicate, plan.folder


def test_scores_and_their_ceiling(launched: tuple[Replicate, Path]) -> None:
    """After two steps nothing is drawn that is a shape; real clips are read as their captions say."""
    replicate, folder = launched
    result = replicate.result()
    assert result is not None
    details = {name: result.score_details[name]["details"] for name in SHARES}
    assert set(SHARES) <= result.scores.keys()
    assert result.scores["caption_accuracy"] < 0.5
    assert {detail["real"] for detail in details.values()} == {1.0}
    # 2 colours, 2 shapes, 2 directions; not all are as often among the real clips, and 2 of 8 are asked for twice.
    assert details["caption_accuracy"]["chance"] == pytest.approx(1 / 8, abs=0.04)
    floors = {floor.metric: floor for floor in read_floors(folder)}
    assert {(floors[name].floor, *floors[name].values, floors[name].higher_is_better) for name in SHARES} == {
        ("real_halves", *[1.0] * 5, True)
    }


def test_a_clip_of_a_class_is_asked_to_show_its_caption(launched: tuple[Replicate, Path]) -> None:
    replicate, _ = launched
    files = files_of(replicate, replicate.folder / "samples")
    asked = files.captions()
    assert (len(asked), asked[:2]) == (10, asked[8:])
    assert asked == [video.caption for video in files.videos().listed]
    assert ["_".join(read_caption(caption)) for caption in asked[:8]] == sorted(
        f"{colour}_{shape}_{way}"
        for colour in ("red", "green")
        for shape in ("square", "circle")
        for way in ("up", "left")
    )


def test_a_run_is_scored_again_by_its_captions(launched: tuple[Replicate, Path], tmp_path: Path) -> None:
    """The captions lie beside the samples: neither the experiment nor its data are needed."""
    replicate, _ = launched
    result: Any = replicate.result()
    request = request_of(replicate.folder, replicate.folder, overrides=["real_clips=10"], floors=False, runs=tmp_path)
    found = {row["metric"]: row["value"] for row in score_folders(request)["scores"]}
    assert found == {name: pytest.approx(result.scores[name]) for name in SHARES}


def test_damaged_captions_are_told(tmp_path: Path) -> None:
    files = SampleFiles(tmp_path, 2, "me")
    assert files.captions() == []
    files.write_captions(["", ""])
    assert not (tmp_path / "captions.json").exists()
    files.write_captions(["a", ""])
    assert files.captions() == ["a", ""]
    for text in ("[", json.dumps(["a"]), json.dumps(["a", 1]), "{}"):
        (tmp_path / "captions.json").write_text(text)
        with pytest.raises(RunError, match=r"captions\.json: is not a list of 2 captions"):
            files.captions()
