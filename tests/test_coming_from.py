"""The README's section "Coming from the Latte repository": each line of it, at toy size, as it stands there."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.model.building import build_network
from components.model.checkpoints import to_official
from registry.parts.catalogue import catalogue
from registry.runs.machine import ROOT
from registry.schema.section import Part
from registry.schema.spec import ModelSpec
from tests.cli.command import run
from tests.fixtures.checkpoint_files import random_entries, save
from tests.fixtures.made_sets import SETS, clips_of
from tests.fixtures.made_videos import gradient_frames, write_video
from tests.fixtures.text_pipelines import write_pipeline

# What makes an arm of XL on videos of 256 pixels one that trains in a second.
TINY = (
    *("model.size=null", "model.width=64", "model.heads=1", "model.depth=2", "learning.steps=2"),
    *("data.resolution=16", "data.frames=4", "data.autoencoder=pixels(factor=2)", "runtime.accumulation=1"),
    *("learning.batch_size=2", "sampling.sampler.steps=2", "sampling.clips=2", "scoring.real_clips=2"),
    *("scoring.detector=moving_shapes_r3d", "runtime.precision=fp32", "seeds=[0]", "floors=[]", "claim=[]"),
)
DRAWN = ("--steps", "2", "data.autoencoder=pixels(factor=2)")
CLASSES = 6


def commands() -> list[str]:
    """Return the right column of the table, in order."""
    (section,) = re.findall(
        r"## Coming from the Latte repository\n(.*?)\n## ", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    return [line.rsplit("| `", 1)[1].removesuffix("` |") for line in section.splitlines() if line.endswith("` |")]


def words_of(number: int, **places: object) -> list[str]:
    """Return the words behind `run.py` of a command by its place in the table, the names of places filled in."""
    line = commands()[number]
    for name, place in places.items():
        line = re.sub(rf"\b{name}\b", str(place), line)
    words = shlex.split(line)
    return words[words.index("run.py") + 1 :]


def weights(path: Path, classes: int = 0, frames: int = 4) -> Path:
    """Write a random file of the official layout, of latents with 12 channels and 8x8; of one frame: DiT's.

    Weights are small, so that what they draw is finite.
    """
    parts = {} if frames > 1 else {"blocks": Part(name="full_attention"), "temporal_position": Part(name="none")}
    model = ModelSpec.model_validate({"width": 64, "heads": 1, "depth": 2, "patch": 2, "classes": classes, **parts})
    network = build_network(model, (frames, 12, 8, 8), 24, True, catalogue())
    learned, entries = dict(network.named_parameters()), random_entries(network)
    small = {name: 0.1 * value if name in learned else value for name, value in entries.items()}
    return save(path, {"ema": to_official(small)})


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """FaceForensics, as a miniature tree."""
    root = tmp_path_factory.mktemp("sets") / "ffs"
    return SETS["face_forensics"](root, clips_of(request.config.getoption("--shared-data")))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the line for one video of a released checkpoint writes."""
    folder = tmp_path_factory.mktemp("drawn")
    told = run(*words_of(5, FILE=weights(folder / "ffs.pt"), OUT=folder / "out"), *DRAWN)
    assert told.code == 0, told.err
    return folder / "out"


def test_every_line_is_run_here() -> None:
    starts = [" ".join(shlex.split(command)[:3]) for command in commands()]
    launches, samples = "python run.py launch", "python run.py sample"
    assert starts == [
        *[launches] * 5, samples, samples, "torchrun --nproc-per-node 8", "python run.py sample-text",
        "python run.py score", "python run.py fetch-weights",
    ]  # fmt: skip


@pytest.mark.parametrize("number", [0, 3], ids=["videos", "videos and stills"])
def test_training(path: Path, tmp_path: Path, number: int) -> None:
    words = words_of(number, PATH=path)
    told = run(*words, *TINY, "--executor", "debug", "--runs", tmp_path)
    assert told.code == 0, told.err
    rows = run("status", *words[1:], *TINY, "--runs", tmp_path, "--format", "json").json["replicates"]
    assert [(row["state"], row["step"]) for row in rows] == [("done", 2)] * (2 if number == 3 else 1)


def test_training_on_several_gpus_and_on_slurm(path: Path, tmp_path: Path) -> None:
    told = run(*words_of(1, PATH=path), *TINY, "--dry-run", "--executor", "slurm", "--runs", tmp_path)
    assert told.code == 0, told.err
    assert "#SBATCH --gpus-per-node=8" in told.out
    assert "#SBATCH --ntasks-per-node=8" in told.out
    told = run(*words_of(2, PATH=path), *TINY, "--dry-run", "--runs", tmp_path)
    assert told.code == 0, told.err
    assert "#SBATCH" in told.out


def test_training_from_an_image_network(path: Path, tmp_path: Path) -> None:
    file = weights(tmp_path / "dit.pt", classes=1000, frames=1)
    told = run(*words_of(4, PATH=path, FILE=file), *TINY, "--executor", "debug", "--runs", tmp_path / "runs")
    assert told.code == 0, told.err


def test_sampling(drawn: Path, tmp_path: Path) -> None:
    assert [file.name for file in sorted((drawn / "videos").iterdir())] == ["clip-000000.mp4"]
    file = weights(tmp_path / "ucf101.pt", CLASSES)
    told = run(*words_of(6, FILE=file, OUT=tmp_path / "out"), *DRAWN)
    assert told.code == 0, told.err
    settings = json.loads((tmp_path / "out" / "samples.json").read_text())["settings"]
    assert settings["guidance"] == 7


def test_sampling_under_torchrun(tmp_path: Path) -> None:
    """With two processes and two clips, of which each draws one."""
    words = words_of(7, FILE=weights(tmp_path / "ffs.pt"), OUT=tmp_path / "out")
    words[words.index("--num") + 1] = "2"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--"]
    done = subprocess.run(
        [*torchrun, str(ROOT / "run.py"), *words, *DRAWN, "--batch", "1"], cwd=ROOT, capture_output=True, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out" / "videos").iterdir())) == 2


def test_text_to_video(tmp_path: Path) -> None:
    words = [word if word != "maxin-cn/Latte-1" else str(write_pipeline(tmp_path / "model")) for word in words_of(8)]
    told = run(*words, "--steps", "2", "--out", tmp_path / "out")
    assert told.code == 0, told.err
    assert (tmp_path / "out" / "000000.mp4").exists()


def test_scoring(drawn: Path, tmp_path: Path) -> None:
    """At two small clips a side, by the detector that needs no download."""
    for number in range(2):
        (tmp_path / "out" / "videos").mkdir(parents=True, exist_ok=True)
        shutil.copy(drawn / "videos" / "clip-000000.mp4", tmp_path / "out" / "videos" / f"{number}.mp4")
        write_video(tmp_path / "real" / f"{number}.avi", gradient_frames(16, 32, 32, seed=number))
    small = ("frames=4", "real_interval=1", "resolution=32", "detector=moving_shapes_r3d", "--metrics", "kvd")
    told = run(*words_of(9, OUT=tmp_path / "out", VIDEOS=tmp_path / "real"), *small, "--format", "json")
    assert told.code == 0, told.err
    assert [score["metric"] for score in told.json["scores"]] == ["kvd[moving_shapes_r3d]"]


def test_released_weights_are_named(tmp_path: Path) -> None:
    """Offline it is said which file is to be put where."""
    told = run(*words_of(10), XDG_CACHE_HOME=str(tmp_path), https_proxy="http://127.0.0.1:9")
    assert told.code == 1
    assert "ffs.pt" in told.err
    assert str(tmp_path) in told.err
    assert "Traceback" not in told.err
