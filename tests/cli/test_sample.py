"""`sample` as people call it: what it writes, that it goes on, and what it says where something cannot be done."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from components.model.building import build_network
from components.model.checkpoints import to_official
from experiments.cli.app import app
from experiments.sampling import sample_files
from experiments.sampling.requests import Ask, wanted_of
from registry.parts.catalogue import catalogue
from registry.runs.machine import ROOT
from registry.runs.records import Samples, read_record
from registry.schema.spec import ModelSpec
from tests.cli.command import Launched, Told, run
from tests.fixtures.checkpoint_files import save
from tests.waiting import until


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Any:
    """The command line in this process, which has imported torch already."""
    torch.set_num_threads(1)

    def call(*words: object) -> Told:
        capsys.readouterr()
        try:
            app([str(word) for word in words], standalone_mode=False)
            code = 0
        except SystemExit as ended:
            code = int(str(ended.code))
        return Told(code, *capsys.readouterr())

    return call


@pytest.fixture(scope="module")
def replicate(launched: Launched) -> Path:
    assert launched.told.code == 0, launched.told.err
    (folder,) = (launched.runs / "toy").glob("baseline-*/seed-0")
    return folder


@pytest.fixture(scope="module")
def sampled(replicate: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Told]:
    """The six clips of the toy run's scores, sampled by one process, and what it said."""
    out = tmp_path_factory.mktemp("sampled") / "out"
    return out, run("sample", replicate, "--num", 6, "--grid", "2x3", "--out", out)


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of arrays and videos by their path in a folder of samples."""
    files = sorted([*folder.glob("arrays/*.npy"), *folder.glob("videos/*.mp4")])
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def arrays(folder: Path) -> np.ndarray:
    return np.concatenate([np.load(path) for path in sorted(folder.glob("clips-*.npy"))])


def test_a_run_is_sampled_to_videos_pictures_and_a_record(sampled: tuple[Path, Told], replicate: Path) -> None:
    """Six clips of four frames of 16x16 in two classes: without options the very clips that were scored."""
    out, told = sampled
    assert (told.code, told.err) == (0, "")
    assert "sampling: 6 of 6" in told.out
    pictures = ["contact_sheet.png", "samples.gif", "grid-2x3.png", "grid-2x3.mp4", "grid-2x3.gif"]
    assert f"6 clips in {out}: videos, {', '.join(pictures)}, samples.json" in told.out
    assert np.array_equal(arrays(out / "arrays"), arrays(replicate / "samples"))
    for number in range(6):
        with av.open(str(out / "videos" / f"clip-{number:06d}.mp4")) as video:
            assert video.streams.video[0].average_rate == 8
            assert len(list(video.decode(video=0))) == 4
    with Image.open(out / "samples.gif") as gif:
        assert (gif.n_frames, gif.info["loop"]) == (4, 0)
    with Image.open(out / "grid-2x3.png") as grid:
        assert grid.size == (3 * 128 + 4, 2 * 128 + 2)
    with av.open(str(out / "grid-2x3.mp4")) as video:
        assert len(list(video.decode(video=0))) == 12 * 4  # six seconds, at eight frames a second
    about = read_record(out / "samples.json", Samples)
    assert about is not None
    assert (about.num, [clip.name for clip in about.clips]) == (6, ["moves_left", "moves_up"] * 3)
    told_of = {clip.file: clip.sha256 for clip in about.clips} | about.pictures
    assert told_of == {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in told_of}
    assert sorted(told_of) == sorted([*(f"videos/clip-{number:06d}.mp4" for number in range(6)), *pictures])


def test_two_processes_write_the_same_bytes_as_one(sampled: tuple[Path, Told], replicate: Path, tmp_path: Path) -> None:
    told = run("sample", replicate, "--num", 6, "--processes", 2, "--out", tmp_path / "out")
    assert told.code == 0, told.err
    assert digests(tmp_path / "out") == digests(sampled[0])


def test_two_ranks_write_the_same_bytes_as_one(sampled: tuple[Path, Told], replicate: Path, tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--"]
    words = ["run.py", "sample", str(replicate), "--num", "6", "--out", str(tmp_path / "out")]
    told = subprocess.run(
        [*torchrun, *words], cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert told.stdout.count("6 clips in") == 1
    assert digests(tmp_path / "out") == digests(sampled[0])


def test_the_same_command_again_changes_nothing(here: Any, sampled: tuple[Path, Told], replicate: Path) -> None:
    out = sampled[0]
    before = {path: path.stat().st_mtime_ns for path in [*out.glob("arrays/*"), *out.glob("videos/*")]}
    told = here("sample", replicate, "--num", 4, "--out", out)  # fewer than there are: they stay
    assert (told.code, told.err) == (0, "")
    assert "6 clips in" in told.out
    assert {path: path.stat().st_mtime_ns for path in [*out.glob("arrays/*"), *out.glob("videos/*")]} == before
    about = read_record(out / "samples.json", Samples)
    assert about is not None
    assert "grid-2x3.png" in about.pictures  # of the first command


def test_other_settings_never_come_into_the_same_folder(
    here: Any, sampled: tuple[Path, Told], replicate: Path, tmp_path: Path
) -> None:
    out = sampled[0]
    before = digests(out)
    told = here("sample", replicate, "--num", 6, "--guidance", 3, "--seed", 5, "--out", out)
    assert told.code == 1
    assert f"{out}: holds clips of other settings: guidance: 1.0 there, 3.0 now; seed: 0 there, 5 now" in told.err
    assert digests(out) == before
    folders = set()
    for options in ((), ("--guidance", 3), ("--weights", "raw")):
        told = here("sample", replicate, "--num", 1, *options, "--runs", tmp_path, "--format", "json")
        assert told.code == 0, told.err
        folders.add(json.loads(told.out)["out"])
    assert len(folders) == 3
    assert {Path(folder).parent for folder in folders} == {tmp_path / "_samples"}


def test_classes_take_turns_by_name_or_number(here: Any, replicate: Path, tmp_path: Path) -> None:
    told = here("sample", replicate, "--num", 3, "--classes", "moves_up,0", "--out", tmp_path / "o", "--format", "json")
    assert told.code == 0, told.err
    assert [clip["name"] for clip in json.loads(told.out)["clips"]] == ["moves_up", "moves_left", "moves_up"]


def test_all_that_is_wrong_is_told_at_once(here: Any, replicate: Path) -> None:
    told = here("sample", replicate, "--classes", "moves_lft,7", "--sampler", "ddmi", "--guidance", 0, "model.width=3",
                "sampling.sede=1")  # fmt: skip
    assert (told.code, told.out) == (2, "")
    assert told.err.splitlines() == [
        "command line: model.width: is what the network was trained with; only sampling, runtime, data.autoencoder and "
        "data.text_encoder can be said otherwise",
        "--sampler: no sampler 'ddmi'; did you mean 'ddpm' or 'ddim'?",
        "--guidance: expected greater than 0, got 0.0 (float)",
        "command line: sampling.sede: unknown key; did you mean 'seed'?",
        "--classes: no class 'moves_lft'; did you mean 'moves_left' or 'moves_up'?",
        "--classes: no class '7': they are numbered 0 to 1",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sampler", "euler"],
         "--sampler: euler cannot sample v_prediction; what can: ddpm, ddim, dpm_solver_pp, unipc"),
        (["--steps", "many"], "--sampler: steps 'many': write a count (250), counts of equal sections"),
        (["--frames", 6], "--frames: this network draws 4 frames and no other number: temporal_position absolute: "),
        (["--resolution", 30], "--resolution: data.autoencoder.factor: frames of 30 pixels a side cannot be divided"),
        (["--grid", "5x5"], "--grid: 5x5 needs 25 clips, and --num is 16"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_the_reason(here: Any, replicate: Path, options: list, message: str) -> None:
    told = here("sample", replicate, *options)
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith(message)


def test_a_place_without_a_network_is_told(here: Any, launched: Launched, replicate: Path, tmp_path: Path) -> None:
    told = here("sample", launched.runs / "toi")
    assert (told.code, told.err) == (2, f"{launched.runs / 'toi'}: no such run or checkpoint; did you mean 'toy'?\n")
    told = here("sample", launched.runs / "toy")
    assert told.code == 2
    assert "is no single run; name one of" in told.err
    assert str(replicate) in told.err
    told = here("sample", tmp_path)
    assert told.code == 2
    assert told.err.startswith(f"{tmp_path}: is a folder of no layout: name a file, or a training")
    told = here("sample", replicate, "--step", 4)
    assert told.code == 1
    assert told.err == f"{replicate}: has no checkpoint of step 4; there are those of step 6\n"


def test_a_training_and_its_checkpoint_are_sampled_like_the_run(
    here: Any, sampled: tuple[Path, Told], replicate: Path, tmp_path: Path
) -> None:
    training = replicate.resolve().parent.parent
    for number, path in enumerate((training, training / "checkpoints" / "step-00000006.pt")):
        out = tmp_path / str(number)
        told = here("sample", path, "--num", 6, "--out", out)
        assert told.code == 0, told.err
        assert digests(out) == digests(sampled[0])


def test_a_full_disk_is_told_and_what_was_made_stays(
    here: Any, replicate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, write = tmp_path / "out", sample_files.write_array
    with monkeypatch.context() as patched:

        def full(path: Path, *rest: Any) -> None:
            if path.name == "clips-000004-000006.npy":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            write(path, *rest)

        patched.setattr(sample_files, "write_array", full)
        told = here("sample", replicate, "--num", 6, "--out", out)
    assert told.code == 1
    assert told.err == f"{out / 'arrays' / 'clips-000004-000006.npy'}: No space left on device\n"
    assert len(digests(out)) == 1 + 4
    told = here("sample", replicate, "--num", 6, "--out", out)
    assert told.code == 0, told.err
    assert len(digests(out)) == 2 + 6


def test_ctrl_c_keeps_what_was_made(here: Any, replicate: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, str(ROOT / "run.py"), "sample", str(replicate), "--num", "100000", "--batch", "1"]
    process = subprocess.Popen(
        [*command, "--out", str(out)], cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )  # fmt: skip
    until(lambda: len(list(out.glob("videos/*.mp4"))) >= 2, "two clips are there", process)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert process.returncode == 1, error
    assert "of 100000 clips in" in error
    assert error.count("\n") == 1
    about = read_record(out / "samples.json", Samples)
    assert about is not None
    count = len(about.clips)
    assert 2 <= count == len(list(out.glob("videos/*.mp4"))) < 100000
    assert not list(out.rglob("*.tmp"))
    drawn = len(list(out.glob("arrays/*.npy")))  # the last may have been drawn and not filmed yet
    assert drawn in (count, count + 1)
    told = here("sample", replicate, "--num", 1, "--batch", 1, "--out", out)  # as many as there are
    assert told.code == 0, told.err
    assert f"{drawn} clips in {out}" in told.out


def test_the_videos_of_the_folder_can_be_scored(here: Any, sampled: tuple[Path, Told], replicate: Path) -> None:
    fast = ("--protocol", "clean", "detector=random_r3d", "detector.width=4", "frames=4", "--no-floors")
    told = run("score", sampled[0] / "arrays", "--against", replicate, "--runs", sampled[0].parent / "runs", *fast,
               "--format", "json")  # fmt: skip
    assert told.code == 0, told.err
    assert (told.json["samples"]["clips"], told.json["shared_videos"]) == (6, 6)


CHECKPOINT = ("data.autoencoder={name: pixels, factor: 2}", "--sampler", "ddim", "--steps", 2, "--num", 3)


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file under the official names: 4 frames of 8x8 latents with 12 channels, and 3 classes with a null label."""
    model = ModelSpec.model_validate({"width": 64, "heads": 1, "depth": 2, "patch": 2, "classes": 3})
    network = build_network(model, (4, 12, 8, 8), 24, True, catalogue())
    network.initialise(torch.Generator().manual_seed(0))
    return save(tmp_path_factory.mktemp("official") / "classes.pt", {"ema": to_official(network.state_dict())})


def test_a_checkpoint_from_outside_is_sampled_as_the_official_code_does(
    here: Any, official: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    told = here("sample", official, *CHECKPOINT, "--guidance", 7, "--classes", "2,0", "--out", out, "--format", "json")
    assert told.code == 0, told.err
    samples = json.loads(told.out)
    settings = samples["settings"]
    assert settings["weights_sha256"] == hashlib.sha256(official.read_bytes()).hexdigest()
    assert (settings["objective"]["name"], settings["guidance"]) == ("epsilon_learned_sigma", 7)
    assert [clip["name"] for clip in samples["clips"]] == ["class 2", "class 0", "class 2"]
    assert arrays(out / "arrays").shape == (3, 4, 16, 16, 3)
    source = wanted_of(official, Ask(overrides=CHECKPOINT[:1]))
    sampler, schedule = source.spec.sampling.sampler, source.spec.diffusion.noise_schedule
    assert sampler is not None
    assert schedule is not None
    assert (sampler.name, sampler.parameters["steps"], source.spec.sampling.guidance) == ("ddpm", 250, 1)
    assert (schedule.name, source.spec.sampling.seed) == ("linear", 0)


def test_what_a_file_does_not_say_can_be_said_and_is_held_against_its_network(here: Any, official: Path) -> None:
    told = here("sample", official, CHECKPOINT[0], "diffusion.objective=v_prediction")
    assert told.code == 2
    assert told.err.startswith("diffusion.objective: v_prediction needs 12 channels of output, the network gives 24")
    plain, other = (
        wanted_of(official, Ask(overrides=(CHECKPOINT[0], *more))).settings()
        for more in ((), ("diffusion.noise_schedule=cosine",))
    )
    assert {key for key in plain if plain[key] != other[key]} == {"noise_schedule"}
    assert {"heads", "tf32"} <= set(plain)


def test_a_run_is_sampled_at_another_side_and_by_another_sampler(here: Any, replicate: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("--resolution", 32, "--num", 2, "--steps", 2, "sampling.sampler=ddpm")
    told = here("sample", replicate, *words, "--out", out)
    assert told.code == 0, told.err
    assert arrays(out / "arrays").shape == (2, 4, 32, 32, 3)
    told = here("sample", replicate, "--num", 420, "--grid", "21x20", "--out", tmp_path / "other")
    assert (told.code, told.err) == (2, "--grid: a picture of 420 clips is more than the 400 that are drawn at once\n")


def test_a_checkpoint_says_what_has_to_be_said_of_it(here: Any, official: Path, tmp_path: Path) -> None:
    told = here("sample", official)
    assert told.code == 2
    assert told.err.startswith("data.autoencoder: sd_vae has no latents of 12x8x8, which this network draws; name the")
    told = here("sample", official, *CHECKPOINT, "--step", 5)
    assert (told.code, told.err.split(":")[0]) == (2, "--step")
    told = here("sample", official, *CHECKPOINT, "--weights", "raw")
    assert told.code == 2
    assert "model" in told.err
    told = here("sample", official, *CHECKPOINT, "--frames", 8)
    assert told.code == 2
    assert told.err.startswith("--frames: this network draws 4 frames")
    (tmp_path / "noise.pt").write_bytes(b"no checkpoint")
    told = here("sample", tmp_path / "noise.pt")
    assert told.code == 1
    assert "Traceback" not in told.err


def test_another_resolution_is_drawn_and_noted(here: Any, official: Path, tmp_path: Path) -> None:
    told = here("sample", official, *CHECKPOINT, "--resolution", 24, "--out", tmp_path / "out")
    assert told.code == 0, told.err
    assert "NOTE: 24 pixels from a network that was trained with 16: 6x6 patches in place of 4x4" in told.err
    assert arrays(tmp_path / "out" / "arrays").shape == (3, 4, 24, 24, 3)


def commands() -> list[str]:
    """Every command of the page, without its comment."""
    lines = (ROOT / "docs" / "sampling.md").read_text(encoding="utf-8").splitlines()
    return [line.split("#")[0].strip() for line in lines if line.startswith("python run.py ")]


@pytest.mark.parametrize("command", commands())
def test_each_command_of_the_page_works(
    here: Any, replicate: Path, official: Path, tmp_path: Path, command: str
) -> None:
    places = {"RUN": replicate, "CHECKPOINT": official, "OUT": tmp_path / "out"}
    words = [places.get(word, word) for word in command.split()[2:]]
    more = CHECKPOINT[:1] if official in words else ()
    told = here(*words, *more, "--runs", tmp_path)
    assert told.code == 0, told.err
    assert f"clips in {tmp_path}" in told.out


def test_a_checkpoint_that_was_imported_gives_the_clips_of_its_file(here: Any, official: Path, tmp_path: Path) -> None:
    told = here("checkpoint", "import", official, "--runs", tmp_path / "runs", CHECKPOINT[0])
    assert told.code == 0, told.err
    (training,) = (tmp_path / "runs" / "_trainings").glob("*/seed-0")
    for source in (official, training):
        more = CHECKPOINT[1:] if source == training else CHECKPOINT
        told = here("sample", source, *more, "--out", tmp_path / source.name)
        assert told.code == 0, told.err
    first, second = (arrays(tmp_path / source.name / "arrays") for source in (official, training))
    assert np.array_equal(first, second)
