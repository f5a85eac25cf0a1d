"""Which samples stay once they are scored, that nothing is lost by it, and how the others come back."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments.launch.preparing import late_floor
from experiments.scores import evaluation, kept_samples
from experiments.scores.kept_samples import drop_samples, kept_of, missing_samples, sample_again
from experiments.worker.run import run_training
from registry.errors import RunError
from registry.runs.floors import read_floors
from registry.runs.replicate import Replicate, open_replicate
from tests.fixtures.toy_replicates import made, never, nothing, plan_of

CPU = torch.device("cpu")
TOY = ("seeds=[0]", "learning.steps=2", "sampling.clips=20", "runtime.sampling_batch=6", "floors=[]")


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.npy"))}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Replicate:
    """A finished replicate with all of its 20 samples, in files of 6."""
    replicate = made(tmp_path_factory.mktemp("whole"), *TOY, "runtime.keep_samples=all")[0]
    run_training(replicate.training)
    assert len(files(replicate.folder / "samples")) == 4
    return replicate


def samples_of(whole: Replicate, folder: Path) -> tuple[Path, Path]:
    """A copy of its samples, and its result beside them."""
    shutil.copytree(whole.folder / "samples", folder / "samples")
    shutil.copy(whole.folder / "result.json", folder)
    return folder / "samples", folder / "result.json"


@pytest.mark.parametrize(
    ("rule", "kept"),
    [("all", [0, 6, 12, 18]), ("shown", [0, 6, 12]), ("none", []), ("auto", [0, 6, 12, 18])],
)
def test_what_each_rule_keeps(whole: Replicate, tmp_path: Path, rule: Any, kept: list[int]) -> None:
    samples, result = samples_of(whole, tmp_path)
    before = files(samples)
    dropped = drop_samples(samples, rule, result)
    names = [f"clips-{first:06d}-{min(first + 6, 20):06d}.npy" for first in kept]
    assert files(samples) == {name: before[name] for name in names}
    assert sorted(path.name for path in dropped) == sorted(before.keys() - set(names))
    assert drop_samples(samples, rule, result) == []  # again drops nothing more
    assert files(samples).keys() == set(names)


def test_auto_keeps_all_up_to_a_size(whole: Replicate, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = whole.folder / "samples"
    size = sum(map(len, files(samples).values()))
    for most, kept in ((size, 4), (size - 1, 3)):
        monkeypatch.setattr(kept_samples, "KEEP_ALL_BYTES", most)
        assert len(kept_of(samples, "auto")) == kept
    assert 64 * 8 * 16 * 16 * 3 < 10**9 < 2048 * 16 * 256 * 256 * 3  # the quickstart's stay, the paper's do not


def test_nothing_is_dropped_before_there_is_a_result(whole: Replicate, tmp_path: Path) -> None:
    samples, result = samples_of(whole, tmp_path)
    result.unlink()
    before = files(samples)
    with pytest.raises(RunError, match=r"no sample is dropped before there is .*result\.json"):
        drop_samples(samples, "none", result)
    assert files(samples) == before


def test_files_that_are_not_samples_stay(whole: Replicate, tmp_path: Path) -> None:
    samples, result = samples_of(whole, tmp_path)
    for name in ("notes.txt", "clips-mine.npy"):
        (samples / name).write_text("mine")
    drop_samples(samples, "none", result)
    assert sorted(path.name for path in samples.iterdir()) == ["clips-mine.npy", "notes.txt"]


@pytest.mark.parametrize("rule", ["shown", "none"])
def test_a_rule_changes_no_score_and_what_it_drops_comes_back_bit_for_bit(
    whole: Replicate, tmp_path: Path, rule: str
) -> None:
    replicate = made(tmp_path, *TOY, f"runtime.keep_samples={rule}")[0]
    assert replicate.identity == whole.identity
    (result,), of_whole = run_training(replicate.training), whole.result()
    assert of_whole is not None
    assert (result.scores, result.score_details) == (of_whole.scores, of_whole.score_details)
    kept = {"shown": 3, "none": 0}[rule]
    assert len(files(replicate.folder / "samples")) == kept
    pictures = [(one.folder / "previews" / "contact_sheet.png").read_bytes() for one in (replicate, whole)]
    assert pictures[0] == pictures[1]
    done = open_replicate(replicate.folder)
    problem = missing_samples(done)
    assert problem.startswith(f"{replicate.folder}: has {min(18, 6 * kept)} of its 20 samples; the others were dropped")
    assert f"(runtime.keep_samples: {rule}); --sample-again samples them again from its checkpoint" in problem
    sample_again(done, CPU, never, nothing)
    assert files(replicate.folder / "samples") == files(whole.folder / "samples")
    assert missing_samples(done) == ""


def test_without_the_checkpoint_they_are_gone_and_it_says_so(tmp_path: Path) -> None:
    replicate = made(tmp_path, *TOY, "runtime.keep_samples=none")[0]
    assert missing_samples(replicate) == f"{replicate.folder}: has no samples yet; launch it first"
    with pytest.raises(RunError, match="launch it first"):
        sample_again(replicate, CPU, never, nothing)
    run_training(replicate.training)
    shutil.rmtree(replicate.training / "checkpoints")
    with pytest.raises(
        RunError, match=r", and cannot be sampled again, since its checkpoint step-00000002\.pt is gone"
    ):
        sample_again(replicate, CPU, never, nothing)


def test_the_floor_of_resampling_is_the_same_whatever_was_dropped(tmp_path: Path) -> None:
    """Nothing else is kept by it, either."""
    found = {}
    for rule in ("all", "shown", "none"):
        words = [word for word in TOY if word != "floors=[]"]
        plan = plan_of(tmp_path / rule, *words, f"runtime.keep_samples={rule}", "floors=[resampled]", only=["baseline"])
        replicate = made(tmp_path / rule, *words, f"runtime.keep_samples={rule}", "floors=[resampled]")[0]
        run_training(replicate.training)
        assert late_floor(plan, [replicate], nothing)
        (found[rule],) = {tuple(r.values) for r in read_floors(plan.folder) if r.metric.startswith("fvd")}
        counts = [len(files(replicate.folder / name)) for name in ("samples", "resampled")]
        assert counts == {"all": [4, 4], "shown": [3, 0], "none": [0, 0]}[rule]
    assert found["all"] == found["shown"] == found["none"]


def test_no_run_fails_because_of_a_picture(
    tmp_path: Path, whole: Replicate, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(*about: Any, **more: Any) -> None:
        raise ZeroDivisionError("a mistake in the drawing")

    monkeypatch.setattr(evaluation, "write_previews", broken)
    replicate = made(tmp_path, *TOY)[0]
    (result,), of_whole = run_training(replicate.training), whole.result()
    assert of_whole is not None
    assert result.scores == of_whole.scores
    assert replicate.state == "done"
    assert "warning: previews: ZeroDivisionError: a mistake in the drawing" in capfd.readouterr().err
    assert np.load(replicate.folder / "samples" / "clips-000000-000006.npy").shape[0] == 6
