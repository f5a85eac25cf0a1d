"""Two folders scored in this process: what is kept, what is left out, and what is said of bad input."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from components.scoring.detectors.random_r3d import RandomR3D
from components.scoring.metrics.fvd import FVD
from components.scoring.metrics.kernel import KVD
from experiments.sampling.sample_files import files_of
from experiments.scores import score_folders as module
from experiments.scores.floors import add_floors
from experiments.scores.protocols import show
from experiments.scores.score_folders import request_of, score_folders
from registry.errors import RunError, SpecError
from registry.runs.floors import owner_of
from registry.runs.records import Floor
from registry.schema.protocol import fingerprint
from tests.fixtures.made_videos import gradient_frames, write_video
from tests.fixtures.toy_replicates import made

FAST = ("detector=random_r3d", "detector.width=4", "frames=4")
SCORES = ["fvd[random_r3d]", "kvd[random_r3d]"]


def nothing(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


def videos(folder: Path, count: int, first: int = 0, frames: int = 12, size: tuple[int, int] = (32, 32)) -> Path:
    for number in range(first, first + count):
        write_video(folder / f"{number:03d}.mp4", gradient_frames(frames, *size, seed=number))
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight sampled and eight real videos of 32x32, and the runs in which they are indexed."""
    root = tmp_path_factory.mktemp("score")
    videos(root / "fake", 8, first=100)
    videos(root / "real", 8)
    return root


@pytest.fixture
def copied(root: Path, tmp_path: Path) -> Path:
    """The same videos in folders of their own."""
    for name in ("fake", "real"):
        shutil.copytree(root / name, tmp_path / name)
    return tmp_path


def scored(fake: Path, real: Path, runs: Path, *overrides: str, progress: Any = nothing, **options: Any) -> Any:
    given = {
        "name": "clean", "overrides": [*FAST, *overrides], "metrics": None, "processes": 1, "batch_size": 8,
        "device": "cpu", "out": None, "runs": runs, **options,
    }  # fmt: skip
    return score_folders(request_of(fake, real, **given), progress)


def values(found: Any) -> dict[str, float]:
    return {row["metric"]: row["value"] for row in found["scores"]}


@pytest.fixture(scope="module")
def found(root: Path) -> Any:
    return scored(root / "fake", root / "real", root / "runs")


# ---------------------------------------------------------------- what is written


def test_scores_have_all_that_belongs_beside_them(root: Path, found: Any) -> None:
    written = json.loads((Path(found["out"]) / "scores.json").read_text())
    assert {key: value for key, value in found.items() if key not in ("out", "plot")} == written
    out = Path(found["out"])
    assert out.parent == root / "runs" / "_scores"
    assert out.name.startswith("fake-against-real-")
    assert [row["metric"] for row in found["scores"]] == SCORES
    for row in found["scores"]:
        assert set(row) == {
            "metric", "value", "protocol", "n_fake", "n_real", "interval", "floors", "curve", "details",
        }  # fmt: skip
        assert (row["n_fake"], row["n_real"]) == (8, 8)
        assert row["protocol"] == found["protocols"][row["metric"]]
        floor = row["floors"]["real_halves"]
        assert floor["mean"] == pytest.approx(np.mean(floor["values"]))
        assert sum(floor["measured_at"]) <= 8
        assert (floor["n_fake"], floor["n_real"]) == (8, 8)
        assert [point["share"] for point in row["curve"]] == [0.5, 1.0]
        assert row["curve"][-1]["value"] == pytest.approx(row["value"])
    assert found["samples"]["clips"] == found["samples"]["videos"] == 8
    assert found["failed"] == []
    assert found["made"]["host"]
    assert found["plot"] == str(out / "curve.png")
    assert (out / "curve.png").is_file()


def test_the_fingerprint_is_that_of_the_bound_protocol(found: Any) -> None:
    assert set(found["protocol_specs"]) == set(found["protocols"].values())
    assert len(found["protocol_specs"]) == 2  # two estimators
    for mark, bound in found["protocol_specs"].items():
        assert fingerprint(bound) == mark
        assert bound["real"]["data"] == found["against"]["digest"]
        assert (bound["real"]["clips"], bound["fake"]["clips"]) == (8, 8)
        assert bound["pixels"]["resolution"] == "32x32"
        assert bound["extractor"]["fingerprint"] == RandomR3D(width=4).fingerprint()
        assert (bound["extractor"]["layer"], bound["extractor"]["precision"]) == ("pooled", "float32")
    shown = show(str(Path(found["out"]) / "scores.json"))
    assert {name: bound["fingerprint"] for name, bound in shown.items()} == found["protocols"]


def test_a_second_run_measures_nothing_and_says_the_same(root: Path, found: Any, monkeypatch: Any) -> None:
    def refuse(*args: Any) -> None:
        raise AssertionError("a clip was measured again")

    monkeypatch.setattr(RandomR3D, "features", refuse)
    assert scored(root / "fake", root / "real", root / "runs")["scores"] == found["scores"]


@pytest.mark.parametrize("batch", [1, 7, 32])
def test_batches_change_no_digit(root: Path, found: Any, tmp_path: Path, batch: int) -> None:
    """Each in a folder of runs of its own, so that everything is measured; processes are in tests/cli/test_score.py."""
    other = scored(root / "fake", root / "real", tmp_path, batch_size=batch)
    for key in ("scores", "protocols", "protocol_specs"):
        assert other[key] == found[key]


@pytest.mark.parametrize(
    ("word", "keys"),
    [
        ("seed=1", {"clips.seed"}),
        ("real_clips=7", {"real.clips"}),
        ("fake_clips=5", {"fake.clips"}),
        ("fake_storage=[jpeg]", {"fake.storage", "storage.jpeg"}),
        ("detector.seed=3", {"extractor.fingerprint"}),
        ("resolution=16", {f"pixels.{key}" for key in ("resolution", "transform", "kernel", "antialias")}),
        ("real_interval=2", {"real.interval", "clips.picking"}),
    ],
)
def test_what_differs_changes_fingerprint_and_number(root: Path, found: Any, word: str, keys: set[str]) -> None:
    from registry.schema.differences import differing

    other = scored(root / "fake", root / "real", root / "runs", word)
    for name in SCORES:
        one, two = (of["protocol_specs"][of["protocols"][name]] for of in (found, other))
        assert {key for key, *_ in differing(one, two)} == keys
        assert other["protocols"][name] != found["protocols"][name]
        assert values(other)[name] != values(found)[name]


def test_other_data_is_another_protocol(root: Path, found: Any, copied: Path) -> None:
    same = scored(copied / "fake", copied / "real", copied / "runs")
    assert same["protocols"] == found["protocols"]  # wherever the folders are
    assert values(same) == values(found)
    videos(copied / "real", 1, first=50)
    assert scored(copied / "fake", copied / "real", copied / "runs")["protocols"] != found["protocols"]


def test_metrics_can_be_chosen(root: Path, found: Any, tmp_path: Path) -> None:
    only = scored(root / "fake", root / "real", root / "runs", metrics="kvd", out=tmp_path / "out")
    assert values(only) == {"kvd[random_r3d]": values(found)["kvd[random_r3d]"]}
    assert only["out"] == str(tmp_path / "out")
    assert (tmp_path / "out" / "scores.json").exists()


# ---------------------------------------------------------------- what a folder may hold


def write_frames(folder: Path, frames: np.ndarray, ending: str) -> None:
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number:04d}.{ending}")


def test_pngs_arrays_and_one_array_file_are_the_same_samples(root: Path, tmp_path: Path) -> None:
    clips = [gradient_frames(6, 32, 32, seed=k) for k in range(4)]
    for number, clip in enumerate(clips):
        write_frames(tmp_path / "png" / f"{number:06d}", clip, "png")
        write_frames(tmp_path / "jpg" / f"{number:06d}", clip, "jpg")
    for name in ("many", "one"):
        (tmp_path / name).mkdir()
    np.save(tmp_path / "one" / "clips.npy", np.stack(clips))
    for number, clip in enumerate(clips):
        np.save(tmp_path / "many" / f"{number}.npy", clip)
    found = {
        name: scored(tmp_path / name, root / "real", root / "runs", "fake_start=first")
        for name in ("png", "jpg", "many", "one")
    }
    lossless = [values(found[name]) for name in ("png", "many", "one")]
    for other in lossless[1:]:
        assert other == pytest.approx(lossless[0], rel=1e-12)  # clips in another order are summed in another
    assert values(found["jpg"]) != lossless[0]
    assert len({str(of["protocols"]) for of in found.values()}) == 1


def test_a_run_is_scored_by_its_samples_with_the_floors_of_its_experiment(root: Path, tmp_path: Path) -> None:
    replicate = made(tmp_path, "floors=[]")[0]
    place = replicate.link  # the experiment's
    with pytest.raises(RunError, match="has no samples yet; launch it first"):
        scored(place, root / "real", root / "runs")
    (replicate.folder / "samples").mkdir()
    clips = np.stack([gradient_frames(4, 32, 32, seed=k) for k in range(6)])
    files = files_of(replicate, replicate.folder / "samples")
    files.write(range(5), clips[:5])
    with pytest.raises(RunError, match="has 5 of its 6 samples; launch it again"):
        scored(place, root / "real", root / "runs")
    files.write(range(5, 6), clips[5:])
    found = scored(place, root / "real", root / "runs")
    assert found["samples"]["clips"] == 6
    own = found["protocols"][SCORES[0]]
    given = {"floor": "reconstruction", "of": "pixels-4", "n_fake": 6, "n_real": 8, "measured_at": [6, 8]}
    records = [Floor(metric=SCORES[0], protocol=own, values=[1.5], measured=[1.5], **given),
               Floor(metric=SCORES[1], protocol="0" * 10, values=[9.5], measured=[9.5], **given)]  # fmt: skip
    add_floors(tmp_path / "runs" / "toy", records)
    again = scored(place, root / "real", root / "runs")
    fvd, kvd = again["scores"]
    assert fvd["floors"]["reconstruction"]["values"] == [1.5]
    assert "reconstruction" not in kvd["floors"]  # a floor of another protocol is none
    behind = scored(replicate.folder, root / "real", root / "runs")  # belongs to no one experiment
    assert values(behind) == values(again)
    assert not any("reconstruction" in row["floors"] for row in behind["scores"])


def test_floors_beside_a_run_are_of_itself_and_of_its_own_autoencoder(tmp_path: Path) -> None:
    first, second = made(tmp_path, "floors=[]")[:2]
    about = {"metric": "fvd", "protocol": "p", "values": [1.0], "n_fake": 6, "n_real": 8}
    own = [("reconstruction", "pixels-4"), ("resampled", owner_of(first))]
    others = [("real_halves", ""), ("reconstruction", "pixels-2"), ("resampled", owner_of(second))]
    add_floors(tmp_path / "runs" / "toy", [Floor(floor=floor, of=of, **about) for floor, of in (*own, *others)])
    assert [(one.floor, one.of) for one in module._floors_of_run(first.link)] == own
    (first.training / "prepared.json").unlink()  # nothing says which autoencoder is its own
    assert [(one.floor, one.of) for one in module._floors_of_run(first.link)] == own[1:]


# ---------------------------------------------------------------- bad input


def empty(copied: Path) -> Path:
    shutil.rmtree(copied / "fake")
    (copied / "fake").mkdir()
    return copied / "fake"


def one_video(copied: Path) -> Path:
    for path in sorted((copied / "fake").iterdir())[1:]:
        path.unlink()
    return copied / "fake"


def corrupt_all(copied: Path) -> Path:
    for path in (copied / "fake").iterdir():
        path.write_bytes(b"no video")
    return copied / "fake"


def bare_frames(copied: Path) -> Path:
    write_frames(copied / "frames", gradient_frames(5, 32, 32), "png")
    return copied / "frames"


def other_size(copied: Path) -> Path:
    videos(copied / "fake", 1, first=90, size=(32, 48))
    return copied / "fake"


@pytest.mark.parametrize(
    ("spoil", "overrides", "kind", "told"),
    [
        (empty, (), RunError, r"fake: is empty"),
        (one_video, (), RunError, r"fake side: 1 clips from 1 videos; a score needs at least 2"),
        (corrupt_all, (), RunError, r"no readable video in the dataset; 8 rejected"),
        (bare_frames, (), SpecError, r"frames: holds the frames of one video; give the folder above it"),
        (lambda copied: copied / "fake" / "100.mp4", (), SpecError, r"100\.mp4: is a file; give the folder"),
        (lambda copied: copied / "nowhere", (), SpecError, r"nowhere: no such folder"),
        (other_size, (), RunError, r"is 32x32, 090\.mp4 \(fake\) is 48x32; bring all to one square with resolution=…"),
        (lambda copied: copied / "fake", ("frames=13",), RunError, r"0 clips from 8 videos.*8 are shorter than the 13"),
        (lambda copied: copied / "fake", ("frames=1",), RunError, r"random_r3d needs clips of at least 2 frames"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    copied: Path, spoil: Callable[[Path], Path], overrides: tuple[str, ...], kind: type[Exception], told: str
) -> None:
    with pytest.raises(kind, match=told):
        scored(spoil(copied), copied / "real", copied / "runs", *overrides)
    assert not list(copied.rglob("scores.json"))


def test_different_sizes_are_scored_at_one_resolution(copied: Path) -> None:
    found = scored(other_size(copied), copied / "real", copied / "runs", "resolution=16")
    assert found["samples"]["clips"] == 9
    assert {bound["pixels"]["resolution"] for bound in found["protocol_specs"].values()} == {"16x16"}


def test_short_videos_are_dropped_and_listed_or_refused(copied: Path) -> None:
    videos(copied / "fake", 1, first=90, frames=3)
    found = scored(copied / "fake", copied / "real", copied / "runs")
    assert found["samples"]["too_short"] == ["090.mp4"]
    assert found["samples"]["clips"] == 8
    with pytest.raises(RunError, match=r"fake side: 090\.mp4 has 3 frames, a clip of 4 .*needs 4.*fake_short=drop"):
        scored(copied / "fake", copied / "real", copied / "runs", "fake_short=refuse")
    with pytest.raises(RunError, match=r"fake side: 090\.mp4 has 3 frames"):
        scored(
            copied / "fake", copied / "real", copied / "runs", "frames=4", "real_interval=1", name="latte_compatible"
        )


def test_corrupt_files_are_listed_and_the_rest_is_scored(copied: Path, found: Any) -> None:
    (copied / "fake" / "999.mp4").write_bytes(b"no video")
    (copied / "fake" / "998.mp4").write_bytes((copied / "fake" / "100.mp4").read_bytes()[:300])
    again = scored(copied / "fake", copied / "real", copied / "runs")
    assert sorted(name for name, _ in again["samples"]["rejected"]) == ["998.mp4", "999.mp4"]
    assert all(reason for _, reason in again["samples"]["rejected"])
    assert values(again) == values(found)


def test_a_metric_that_fails_takes_no_other_with_it(root: Path, tmp_path: Path, monkeypatch: Any) -> None:
    class Spoiled(RandomR3D):
        def features(self, videos: torch.Tensor) -> torch.Tensor:
            features = super().features(videos)
            return features.fill_(torch.nan) if int(videos.sum()) % 2 else features

    def metrics(*given: Any) -> list[Any]:
        return [KVD(Spoiled(seed=9, width=4)), FVD(RandomR3D(width=4))]

    monkeypatch.setattr(module, "build_metrics", metrics)
    with pytest.raises(RunError) as told:
        scored(root / "fake", root / "real", tmp_path / "runs", out=tmp_path / "out")
    assert "kvd[random_r3d]: the features of " in str(told.value)
    assert "are not finite" in str(told.value)
    assert f"the scores are in {tmp_path / 'out' / 'scores.json'}" in str(told.value)
    written = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert [row["metric"] for row in written["scores"]] == ["fvd[random_r3d]"]
    assert np.isfinite(written["scores"][0]["value"])
    assert len(written["failed"]) == 1


def test_a_video_that_vanishes_leaves_what_was_measured(copied: Path, monkeypatch: Any) -> None:
    calls: list[int] = []
    features = RandomR3D.features

    def counted(self: RandomR3D, clips: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 5:
            (copied / "real" / "007.mp4").unlink()
        return features(self, clips)

    monkeypatch.setattr(RandomR3D, "features", counted)
    with pytest.raises(RunError, match=r"007\.mp4: is gone since the dataset was prepared"):
        scored(copied / "fake", copied / "real", copied / "runs", batch_size=1)
    assert len(calls) == 7
    videos(copied / "real", 1, first=7)
    calls.extend([0] * 10)
    scored(copied / "fake", copied / "real", copied / "runs", batch_size=1)
    assert len(calls) - 17 <= 8 - 7 + 8 + 8  # the rest of the real side, the samples, the pool of the floor


def test_unknown_devices_are_told(root: Path) -> None:
    if not torch.cuda.is_available():
        with pytest.raises(RunError, match=r"--device is cuda, but torch finds no CUDA device here"):
            scored(root / "fake", root / "real", root / "runs", device="cuda")
