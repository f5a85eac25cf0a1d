"""Arms that start from the arm of another experiment: what is planned, in which order, and what is trained for it."""

import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from experiments.launch.frozen_file import frozen_words
from experiments.launch.launching import make_run_folders
from experiments.plan import starts as plan_starts
from experiments.plan.check import check
from experiments.plan.loading import load_plan
from experiments.plan.starts import other_videos, refuse_missing, with_starts
from experiments.record.recording import Recorder
from experiments.training.checkpoints import path_of
from registry.errors import RunError, SpecError
from registry.experiment import starts as starts_in_files
from registry.experiment.arms import select
from registry.parts.start_files import step_of
from registry.runs.machine import ROOT
from tests.cli.command import run
from tests.fixtures.toy_replicates import TOY

VIDEO = TOY.split("ablate:")[0].replace("name: toy", "name: video").replace("steps: 6,", "steps: 0,")
IMAGE = (
    TOY.split("ablate:")[0]
    .replace("name: toy", "name: image")
    .replace("patch: 2,", "patch: 2, blocks: full_attention, temporal_position: none,")
    .replace("frames: 4", "frames: 1")
    .replace("real_clips: 8", "real_clips: 8, metrics: []")
    .replace("steps: 6,", "steps: 2,")
)
START = "{name: dit_image, experiment: image.yaml}"


def write(folder: Path, start: str = START, image: str = "seeds: [0]\n", video: str = "seeds: [0, 1]\n") -> Path:
    (folder / "image.yaml").write_text(IMAGE + "floors: []\n" + image, encoding="utf-8")
    path = folder / "video.yaml"
    ablate = f"ablate:\n  learning.initialisation: [scratch, {start}]\n"
    path.write_text(VIDEO + "floors: []\n" + ablate + video, encoding="utf-8")
    return path


def test_a_start_is_planned_first_for_the_seeds_that_need_it(tmp_path: Path) -> None:
    path = write(tmp_path)
    image, video = with_starts([load_plan(path)])
    assert [(image.name, image.start_of), (video.name, video.start_of)] == [("image", "video"), ("video", "")]
    assert image.file.experiment.seeds == (0, 1)  # of the same seeds, whatever its file has
    listed = with_starts([load_plan(path), load_plan(tmp_path / "image.yaml")])
    assert [plan.name for plan in listed] == ["image", "video"]
    path = write(tmp_path, "{name: dit_image, experiment: image.yaml, seed: 7}")
    assert with_starts([load_plan(path)])[0].file.experiment.seeds == (7,)
    assert with_starts([load_plan(path, only=["baseline"])])[0].name == "video"  # nobody selected starts from it


def test_jobs_prepare_the_arms_alone_that_are_started_from(tmp_path: Path) -> None:
    elsewhere = "arms: {elsewhere: {data.dataset: video_folder, data.path: /nowhere}}\n"
    image, video = with_starts([load_plan(write(tmp_path, image=f"seeds: [0]\n{elsewhere}"))])
    assert len(image.arms) == 2
    assert image.only == ("baseline",)
    assert [arm.name for arm in load_plan(image.file.path, only=image.only).selected] == ["baseline"]
    assert video.only == ()


DESIGN = "seeds: {first: 2, most: 4}\nclaim: {axis: initialisation, better: dit_image, worse: scratch, metric: fvd}\n"


def test_seeds_that_are_added_later_need_a_start_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"video.yaml:\d+: seeds: arm \S* starts from .*: give its start a `seed`"):
        load_plan(write(tmp_path, video=DESIGN))
    start = "{value: {name: dit_image, experiment: image.yaml, seed: 0}, label: dit_image}"
    image, video = with_starts([load_plan(write(tmp_path, start, video=DESIGN))])
    assert [one.seed for one in image.replicates] == [0]
    assert {one.seed for one in video.replicates} == {0, 1}


def test_a_start_of_its_own_design_is_launched_by_itself(tmp_path: Path) -> None:
    claim = "claim: {axis: depth, better: 4, worse: 2, metric: validation_loss}\n"
    path = write(tmp_path, image=f"seeds: {{first: 2, most: 4}}\nablate: {{model.depth: [2, 4]}}\n{claim}")
    assert {one.seed for one in with_starts([load_plan(path)])[0].replicates} == {0, 1}  # as many as are needed
    with pytest.raises(SpecError, match="video starts from this experiment: launch it by itself first"):
        with_starts([load_plan(path), load_plan(tmp_path / "image.yaml")])


def test_what_arms_start_from_is_read_and_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path)
    image = tmp_path / "image.yaml"
    ways = ", ".join(
        f"{{value: {{name: dit_image, experiment: image.yaml, seed: {k}}}, label: of_{k}}}" for k in range(8)
    )
    path.write_text(path.read_text().replace(f"[scratch, {START}]", f"[scratch, {ways}]"))
    read = counted(monkeypatch, starts_in_files, "load_experiment")
    plan = load_plan(path, runs=tmp_path / "runs")
    assert (len(plan.arms), len(read)) == (9, 1)
    image.write_text(image.read_text().replace("steps: 2,", "steps: 3,"))
    assert load_plan(path).arms[1].identity != plan.arms[1].identity  # files change
    assert len(read) == 2
    listed = counted(monkeypatch, plan_starts, "trainings_by_identity")
    with pytest.raises(RunError, match="is not trained here yet"):
        refuse_missing(plan)
    assert len(listed) == 1


def counted(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> list[Any]:
    """What a module's function is called with from now on, first arguments alone."""
    calls: list[Any] = []
    function = getattr(module, name)
    monkeypatch.setattr(module, name, lambda first, *more: (calls.append(first), function(first, *more))[1])
    return calls


def test_the_start_belongs_to_the_identity_and_its_file_does_not(tmp_path: Path) -> None:
    path = write(tmp_path)
    before = [arm.identity for arm in load_plan(path).arms]
    shutil.copytree(tmp_path, tmp_path / "moved")
    assert [arm.identity for arm in load_plan(tmp_path / "moved/video.yaml").arms] == before
    image = tmp_path / "image.yaml"
    image.write_text(image.read_text().replace("steps: 2,", "steps: 3,"))
    after = [arm.identity for arm in load_plan(path).arms]
    assert (after[0], after[1] != before[1]) == (before[0], True)


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("{name: dit_image, experiment: imago.yaml}", "imago.yaml: no such file"),
        ("{name: dit_image, experiment: image.yaml, arm: basline}", "has no arm 'basline'.*baseline"),
        ("{name: dit_image, experiment: video.yaml}", "start from each other in a circle"),
        ("{name: dit_image, experiment: image.yaml, path: image.yaml}", "starts from one thing"),
        ("{name: dit_image, experiment: image.yaml, step: 3}", r"step: \S*image.yaml, arm baseline, makes 2 steps"),
        ("{name: dit_image, path: image.yaml, seed: 1}", "seed: dit_image: seed is that of an experiment's training"),
        ("{name: checkpoint, path: image.yaml, step: 1}", "step: checkpoint: step is that of an experiment's"),
        ("{name: checkpoint, path: image.yaml, arm: other}", "arm: checkpoint: arm is one of an experiment"),
    ],
)
def test_what_is_no_start_is_told_at_its_place(tmp_path: Path, start: str, words: str) -> None:
    path = write(tmp_path, start)
    with pytest.raises(SpecError, match=f"video.yaml:\\d+: .*{words}"):
        load_plan(path)


@pytest.mark.parametrize("step", ["", ", step: 1"])
def test_an_experiment_that_stops_arms_on_their_way_is_no_start(tmp_path: Path, step: str) -> None:
    screened = "seeds: [0]\nablate: {learning.learning_rate: [1e-3, 1e-2]}\nscreen: {rungs: [1], keep: 0.5}\n"
    path = write(tmp_path, START.replace("}", f"{step}}}"), image=screened)
    with pytest.raises(SpecError, match=r"video.yaml:\d+: .*image.yaml: stops some of its arms .*\(screen\)"):
        load_plan(path)


def test_networks_that_do_not_fit_are_told_before_either_is_trained(tmp_path: Path) -> None:
    path = write(tmp_path)
    with pytest.raises(SpecError, match=r"patch_embedding.proj.bias is \(16,\), the network has \(32,\)"):
        check(load_plan(path, ["model.width=32"]))
    with pytest.raises(SpecError, match="it has 2 blocks, the network has 4"):
        check(load_plan(path, ["model.depth=4"]))
    with pytest.raises(SpecError, match="overrides of this command change it"):
        with_starts([load_plan(path), load_plan(tmp_path / "image.yaml", ["learning.steps=3"])])


def test_launch_trains_the_start_and_what_starts_from_it_has_its_weights(tmp_path: Path) -> None:
    path = write(tmp_path, video="seeds: [0]\n")
    told = run("launch", path, "--runs", tmp_path / "runs", "--executor", "debug")
    assert told.code == 0, told.err
    image, video = with_starts([load_plan(path, runs=tmp_path / "runs")])
    (given,), (_, started) = image.replicates, video.replicates
    average = torch.load(path_of(given.training, 2), weights_only=True)["ema"]
    weights = torch.load(path_of(started.training, 0), weights_only=True)["ema"]
    assert weights.keys() == average.keys()
    for name, value in weights.items():
        assert torch.equal(value, average[name]), name


def test_a_start_at_an_earlier_step_is_evaluated_there_and_kept(tmp_path: Path) -> None:
    start = "{name: dit_image, experiment: image.yaml, step: 1}"
    path = write(tmp_path, start, image="seeds: [0]\nevaluate_at: [0]\n", video="seeds: [0]\n")
    image, video = with_starts([load_plan(path, runs=tmp_path / "runs")])
    assert [one.step for one in image.work] == [None, 0, 1]
    last = load_plan(write(tmp_path), runs=tmp_path / "runs")
    assert video.arms[1].identity != last.arms[1].identity  # of other weights
    assert "step" not in last.arms[1].spec.science()["learning"]["initialisation"]
    path = write(tmp_path, start, image="seeds: [0]\nevaluate_at: [0]\n", video="seeds: [0]\n")
    told = run("launch", path, "--runs", tmp_path / "runs", "--executor", "debug")
    assert told.code == 0, told.err
    (given,), (_, started) = image.replicates, video.replicates
    assert [step_of(one) for one in given.checkpoints()] == [1, 2]  # one is kept by number, and this one besides
    average = torch.load(path_of(given.training, 1), weights_only=True)["ema"]
    weights = torch.load(path_of(started.training, 0), weights_only=True)["ema"]
    assert all(torch.equal(value, average[name]) for name, value in weights.items())


SEARCH = """
search:
  space:
    learning.learning_rate: {low: 1e-4, high: 1e-2, log: true}
  objective: [fvd]
  trials: 2
"""


def test_retry_and_search_say_which_start_is_missing_and_what_makes_it(tmp_path: Path) -> None:
    path = write(tmp_path, video="seeds: [0]\n")
    searched = tmp_path / "searched.yaml"
    base = VIDEO.replace("name: video", "name: searched").replace("steps: 0,", f"steps: 2, initialisation: {START},")
    searched.write_text(base + "floors: []\nseeds: [0]\n" + SEARCH, encoding="utf-8")
    runs = tmp_path / "runs"
    for verb, file in (("retry", path), ("search", searched)):
        told = run(verb, file, "--runs", runs, "--executor", "debug")
        assert told.code == 1, told.err
        assert "image.yaml, arm baseline, seed 0" in told.err
        assert "is not trained here yet" in told.err
        assert f"`launch {file} --runs {runs}`" in told.err


def test_a_start_that_failed_is_retried_itself(tmp_path: Path) -> None:
    image, video = with_starts([load_plan(write(tmp_path, video="seeds: [0]\n"), runs=tmp_path / "runs")])
    (failed,) = make_run_folders(image, {"commit": "", "changed": False, "snapshot": ""})
    Recorder(failed.training).event("failed", error="no space left")
    with pytest.raises(RunError, match=r"it has failed: mend the cause, then `retry \S+image.yaml"):
        refuse_missing(video)


def test_other_videos_of_a_start_are_told(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert other_videos(load_plan(path)) == []
    (line,) = other_videos(load_plan(path, ["data.dataset.videos=20"]))
    assert "warning: arm " in line
    assert "image.yaml is trained on other videos: moving_shapes" in line


def test_what_jobs_read_later_is_frozen_with_its_starts(tmp_path: Path) -> None:
    plan = load_plan(
        write(tmp_path, f"{START}, {{name: dit_image, experiment: {tmp_path}/image.yaml, mapping: described}}")
    )
    file, *_ = frozen_words(plan, tmp_path / "launch")
    image = tmp_path / "image.yaml"
    image.write_text(image.read_text().replace("steps: 2,", "steps: 3,"))
    frozen = load_plan(Path(file))
    assert [(arm.name, arm.identity) for arm in frozen.arms] == [(arm.name, arm.identity) for arm in plan.arms]
    assert load_plan(plan.file.path).arms[1].identity != plan.arms[1].identity


def test_the_small_twin_plans_its_image_network_first(tmp_path: Path) -> None:
    small = ROOT / "experiments" / "latte" / "small"
    image, video = with_starts([load_plan(small / "weizmann_initialisation.yaml", [f"data.path={tmp_path}"])])
    assert image.name == "small-weizmann-stills"
    check(video)
    assert video.arms[1].spec.learning.initialisation.parameters["training"] == image.arms[0].spec.training


def test_a_start_beside_the_selected_arms_is_selected_by_jobs_as_well(tmp_path: Path) -> None:
    """What prepares data on Slurm reads the frozen file, with the words of the selection behind it."""
    image = "seeds: [0]\nablate: {learning.batch_size: [1, 2]}\n"
    path = write(tmp_path, "{name: dit_image, experiment: image.yaml, arm: batch_size=1}", image)
    listed = load_plan(tmp_path / "image.yaml", only=["baseline"])
    image_plan, _ = with_starts([load_plan(path), listed])
    assert [arm.name for arm in image_plan.selected] == ["baseline", "batch_size=1"]
    assert select([arm.name for arm in image_plan.arms], image_plan.only) == ["baseline", "batch_size=1"]
