"""Damaged and hostile files as people meet them: made again, or named and left out, and the rest goes on."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.weights import sha256_of
from registry.runs.arrays import write_array
from tests.cli.command import Told, run
from tests.fixtures.made_videos import gradient_frames, write_pictures, write_video
from tests.fixtures.scripted_networks import Constant, Endless, Means, save
from tests.fixtures.toy_replicates import write

FAST = ("detector=random_r3d", "detector.width=4", "frames=4")


def flip_a_bit(file: Path, place: int) -> None:
    """Flip the lowest bit of a byte; a negative place counts from the end."""
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


# ---------------------------------------------------------------- an experiment


@pytest.mark.slow
def test_what_was_damaged_is_made_again_and_changes_no_digit(tmp_path: Path) -> None:
    """Samples cut short by a power cut or with another count than their names say, features, latents, pictures."""
    file, runs = write(tmp_path), tmp_path / "runs"

    def verb(name: str, *words: str) -> Told:
        executor = ("--executor", "debug") if name in ("launch", "retry") else ()
        return run(name, file, "floors=[]", *words, "--only", "baseline", *executor, "--runs", runs)

    assert verb("launch").code == 0
    seeds = sorted((runs / "toy").glob("baseline-*/seed-*"))
    before = [json.loads((seed / "result.json").read_text()) for seed in seeds]
    clips = [np.concatenate([np.load(path) for path in sorted((seed / "samples").iterdir())]) for seed in seeds]
    first, second = (seed / "samples" / "clips-000000-000004.npy" for seed in seeds)
    first.write_bytes(b"")
    np.save(second, np.load(second)[:2])
    np.save(second.with_name("clips-a-b.npy"), clips[1][:2])
    os.mkfifo(second.with_name("a.npy"))
    (latents,) = (runs / "_data").glob("moving_shapes-*/latents/*/plain.npy")
    whole = latents.read_bytes()
    latents.write_bytes(b"")
    (features,) = (runs / "_data" / "references").glob("*/moving_shapes_r3d-*.npy")
    flip_a_bit(features, 128 + 4 * 70 + 3)  # an exponent of the second clip
    shown = features.with_name("clips.npy")
    shown.write_bytes(b"")
    for seed in seeds:
        (seed / "result.json").unlink()

    told = verb("launch")
    assert told.code == 0, told.err
    for seed, result, own in zip(seeds, before, clips, strict=True):
        again = json.loads((seed / "result.json").read_text())
        assert again["scores"] == result["scores"]
        assert {about["n_fake"] for about in again["score_details"].values()} == {6}
        names = ["clips-000000-000004.npy", "clips-000004-000006.npy"]
        assert np.array_equal(np.concatenate([np.load(seed / "samples" / name) for name in names]), own)
        assert f"sampling again what is damaged: {seed.resolve() / 'samples' / names[0]}: " in told.out
    assert f"encoding again what is damaged: {latents}: is empty" in told.out
    assert f"measuring again what is damaged: {features}: rows 0 to 7 are damaged" in told.out
    assert latents.read_bytes() == whole
    assert np.load(shown).shape[1:] == (4, 16, 16, 3)

    flip_a_bit(seeds[0] / "samples" / "clips-000004-000006.npy", 300)  # in a run that is done
    told = run("score", seeds[0], "--against", seeds[1], "--runs", runs, "--no-floors", *FAST)
    assert (told.code, told.out) == (1, "")
    assert "clips-000004-000006.npy: rows 0 to 1 are damaged" in told.err
    assert "Traceback" not in told.err
    flip_a_bit(latents, 200)  # which only training can notice
    told = verb("launch", "seeds=[0,1,2]")
    assert told.code == 1
    assert f"{latents}: rows 0 to " in told.err
    assert "`retry` encodes them again" in told.err
    assert "Traceback" not in told.err
    told = verb("retry", "seeds=[0,1,2]")
    assert told.code == 0, told.err
    assert latents.read_bytes() == whole


# ---------------------------------------------------------------- two folders


def arrays(folder: Path, count: int = 4, frames: int = 9, first: int = 0) -> Path:
    """A folder of clips, one a file."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        np.save(folder / f"{number}.npy", gradient_frames(frames, 16, 16, seed=number))
    return folder


def score(samples: Path, against: Path, *words: object) -> Told:
    return run("score", samples, "--against", against, "--runs", samples.parent / "runs", "--no-floors", *words)


def test_files_that_are_not_clips_are_named_and_cached_features_are_verified(tmp_path: Path) -> None:
    """A pipe, a header that lies, and a clip of ours with a flipped bit; and then features that changed."""
    samples, against = arrays(tmp_path / "samples"), arrays(tmp_path / "against", first=4)
    os.mkfifo(samples / "pipe.npy")
    header = (samples / "0.npy").read_bytes()[:128].replace(b"(9, 16,", b"(-1, 9,")
    (samples / "minus.npy").write_bytes(header + bytes(9 * 16 * 3))
    write_array(samples / "ours.npy", gradient_frames(9, 16, 16, seed=9)[None], "a clip")
    flip_a_bit(samples / "ours.npy", 200)
    first = score(samples, against, *FAST, "--format", "json")
    assert first.code == 0, first.err
    assert first.json["samples"]["clips"] == 4
    rejected = dict(first.json["samples"]["rejected"])
    assert set(rejected) == {"pipe.npy", "minus.npy", "ours.npy"}
    assert rejected["pipe.npy"] == "is not a regular file"
    assert "damaged" in rejected["ours.npy"]

    for features in (tmp_path / "runs" / "_data").glob("*/*/random_r3d-*.npy"):
        flip_a_bit(features, 131)
    again = score(samples, against, *FAST, "--format", "json")
    assert again.code == 0, again.err
    assert again.json["scores"] == first.json["scores"]


def test_scores_are_not_written_among_what_is_scored(tmp_path: Path) -> None:
    samples, against = arrays(tmp_path / "samples"), arrays(tmp_path / "against", first=4)
    for out in (samples, against / "scores"):
        told = score(samples, against, *FAST, "--out", out)
        assert (told.code, told.out) == (2, "")
        assert told.err.startswith(f"--out: {out} lies in ")
    assert score(samples, against, *FAST, "--out", tmp_path / "scores").code == 0


@pytest.mark.parametrize(
    ("network", "word", "code", "said"),
    [
        (Means(), False, 2, "is a program"),
        (Means(), True, 0, "fvd[i3d:{mark}]"),
        (Means(12), True, 1, "i3d: gives (1, 12) numbers for one clip instead of (1, 400)"),
        (Constant(), True, 1, "fvd[i3d:{mark}]: all 4 real clips have the same features"),
        (Endless(), True, 1, "the network has not answered for"),
    ],
    ids=["not named", "named", "of another width", "constant", "endless"],
)
def test_weights_that_are_not_the_published_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: Any, word: bool, code: int, said: str
) -> None:
    monkeypatch.setenv("LATTE_WORKBENCH_NETWORK_SECONDS", "600" if code != 1 or "answered" not in said else "5")
    weights = Path(save(network, tmp_path / "any.pt"))
    detector = f"{{name: i3d, weights: {weights}{f', sha256: {sha256_of(weights)}' if word else ''}}}"
    samples, against = arrays(tmp_path / "samples"), arrays(tmp_path / "against", first=4)
    told = score(samples, against, f"detector={detector}", "frames=9", "--metrics", "fvd", "--format", "json")
    assert told.code == code, told.err
    assert said.format(mark=sha256_of(weights)[:8]) in told.out + told.err
    assert "Traceback" not in told.err
    if code == 0:
        assert [row["metric"] for row in told.json["scores"]] == [f"fvd[i3d:{sha256_of(weights)[:8]}]"]


# ---------------------------------------------------------------- folders of videos


def test_odd_names_and_numbers_cost_nothing_but_themselves(tmp_path: Path) -> None:
    """A carriage return in a name, a note of gaps too long for a table, a name that reads like a list of names."""
    root = tmp_path / "videos"
    write_video(root / "a\rb.avi", gradient_frames(6, 16, 16))
    (root / "gaps").mkdir()
    for number in range(10**239, 10**239 + 2 * 540, 2):
        Image.new("RGB", (16, 16)).save(root / "gaps" / f"{number}.png")
    write_pictures(root / "pictures", [f"{number:03d}.png" for number in range(6)], 16, 16)
    (root / "pictures" / "x; damaged: 005.png").write_bytes(b"no picture")
    told = score(root, root, *FAST, "resolution=16", "--format", "json")
    assert told.code == 0, told.err
    assert (told.json["samples"]["clips"], told.json["samples"]["rejected"]) == (3, [])


def test_a_split_csv_reads_nothing_outside_its_folder(tmp_path: Path) -> None:
    root = tmp_path / "videos"
    write_video(root / "a.avi", gradient_frames(6, 16, 16))
    write_video(tmp_path / "elsewhere" / "x.avi", gradient_frames(6, 16, 16, seed=1))
    (root / "split.csv").write_text("path,split\na.avi,train\n../elsewhere/x.avi,train\n")
    told = score(root, root, *FAST)
    assert (told.code, told.out) == (2, "")
    assert f"{root / 'split.csv'}:3: ../elsewhere/x.avi is not the path of a video below" in told.err


DEADLY = """
import os, signal, sys
from pathlib import Path
sys.path.remove(str(Path(__file__).parent.parent))
del sys.modules["av"]
import av
plain = av.open
def open(path, *more, **given):
    if "victim" in str(path):
        with Path(os.environ["DEATHS"]).open("a+") as file:
            file.seek(0)
            deaths = len(file.read())
            file.write("x")
        if deaths < int(os.environ["MOST_DEATHS"]):
            os.kill(os.getpid(), signal.SIGKILL)
    return plain(path, *more, **given)
av.open = open
"""


@pytest.mark.parametrize(("deaths", "code"), [(1, 0), (9, 1)])
def test_a_decoder_that_the_system_kills_costs_no_healthy_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaths: int, code: int
) -> None:
    package = tmp_path / "stand_ins" / "av"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(DEADLY)
    for name, value in {"PYTHONPATH": package.parent, "DEATHS": tmp_path / "deaths", "MOST_DEATHS": deaths}.items():
        monkeypatch.setenv(name, str(value))
    root = tmp_path / "videos"
    for number, name in enumerate(("a.avi", "b.avi", "victim.avi", "z.avi")):
        write_video(root / name, gradient_frames(6, 16, 16, seed=number))
    told = score(root, root, *FAST, "--format", "json")
    assert told.code == code, told.err
    if code == 0:
        assert (told.json["samples"]["clips"], told.json["samples"]["rejected"]) == (4, [])
        return
    assert f"{root / 'victim.avi'}: the decoder was killed" in told.err
    (index,) = (tmp_path / "runs" / "_data").glob("video_folder-*/index.jsonl")
    kept = {json.loads(line)["path"] for line in index.read_text().splitlines() if line}
    assert kept == {"a.avi", "b.avi", "z.avi"}


def test_an_index_that_was_damaged_is_made_again(tmp_path: Path) -> None:
    root = tmp_path / "videos"
    for number in range(3):
        write_video(root / f"{number}.avi", gradient_frames(6, 16, 16, seed=number))
    assert score(root, root, *FAST).code == 0
    (index,) = (tmp_path / "runs" / "_data").glob("video_folder-*/index.jsonl")
    whole = index.read_text()
    index.write_text(whole.replace('"frames": 6', '"frames": 5'))  # as readable as before
    told = score(root, root, *FAST)
    assert told.code == 0, told.err
    assert index.read_text() == whole
