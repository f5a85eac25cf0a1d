"""Samples to be looked at, as a launch leaves them, and `score` of a run that has dropped its samples."""

from pathlib import Path

import av
import numpy as np
from PIL import Image

from experiments.worker.run import run_training
from tests.cli.command import Launched, run
from tests.fixtures.toy_replicates import made

FAST = ("--protocol", "clean", "detector=random_r3d", "detector.width=4", "frames=4", "--no-floors")


def test_a_launch_leaves_samples_that_can_be_looked_at(launched: Launched) -> None:
    """Six clips of four frames of 16x16 in two classes, real ones beside them."""
    assert launched.told.code == 0, launched.told.err
    assert "warning" not in launched.told.err
    folders = [path.parent for path in (launched.runs / "toy").glob("*/seed-*/result.json")]
    assert len(folders) == 4
    for folder in folders:
        previews = folder / "previews"
        names = [*(f"clip-{number:03d}.mp4" for number in range(6)), "contact_sheet.png", "grid.mp4"]
        assert sorted(path.name for path in previews.iterdir()) == names
        sampled = np.concatenate([np.load(path) for path in sorted((folder / "samples").glob("*.npy"))])
        for number in range(6):
            with av.open(str(previews / f"clip-{number:03d}.mp4")) as container:
                stream = container.streams.video[0]
                assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
                shown = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
            assert shown.shape == (4, 256, 256, 3)
            means = shown.reshape(4, 16, 16, 16, 16, 3).mean((2, 4)).mean((1, 2))  # by frame and colour
            assert np.abs(means - sampled[number].mean((1, 2))).max() <= 6  # chroma is subsampled and quantised
        with av.open(str(previews / "grid.mp4")) as container:
            (width, height, count) = (0, 0, 0)
            for frame in container.decode(video=0):
                width, height, count = frame.width, frame.height, count + 1
        assert count == 12 * 4  # six seconds, at eight frames a second
        assert width >= 2 * 3 * 128  # three columns of real clips, and three of sampled ones
        assert height >= 2 * 128
        assert width % 2 == height % 2 == 0
        with Image.open(previews / "contact_sheet.png") as sheet:
            assert sheet.width >= 2 * 4 * 128  # four frames of a real and of a sampled clip
            assert sheet.height >= 6 * 128


def test_the_reports_picture_is_the_contact_sheet(launched: Launched) -> None:
    assert "figures/samples-baseline.png" in launched.told.out
    (folder,) = (launched.runs / "toy").glob("baseline-*/seed-0")
    figure = launched.runs / "toy" / "report" / "figures" / "samples-baseline.png"
    assert figure.read_bytes() == (folder / "previews" / "contact_sheet.png").read_bytes()


def test_a_run_that_dropped_its_samples_says_what_brings_them_back(launched: Launched, tmp_path: Path) -> None:
    (real,) = (launched.runs / "toy").glob("baseline-*/seed-0")
    replicate = made(tmp_path, "floors=[]", "runtime.keep_samples=none")[0]
    run_training(replicate.training)
    assert not list((replicate.folder / "samples").glob("*.npy"))
    for path in (replicate.folder, replicate.folder / "samples"):
        told = run("score", path, "--against", real, "--runs", tmp_path / "runs", *FAST)
        assert (told.code, told.out) == (1, "")
        (line,) = told.err.splitlines()
        assert "has 0 of its 6 samples; the others were dropped once they were scored" in line
        assert "--sample-again" in line
    told = run("score", replicate.folder, "--against", real, "--runs", tmp_path / "runs", "--sample-again", *FAST,
               "--format", "json")  # fmt: skip
    assert told.code == 0, told.err
    assert (told.json["samples"]["clips"], told.json["shared_videos"]) == (6, 6)  # the very clips of the other run


def test_a_misspelt_rule_is_refused(launched: Launched) -> None:
    told = launched.verbs("check", "runtime.keep_samples=shwon")
    assert told.code == 2
    assert told.err == "command line: runtime.keep_samples: 'shwon' is not a choice; did you mean 'shown'?\n"
