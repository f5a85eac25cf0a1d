"""Real clips by class: of the right class and split, decoded only when they are asked for."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from components.assembly import Assembly
from components.data.prepare import Prepared, prepare
from components.scoring.features.clip_selection import Video
from components.scoring.features.sources import PreparedVideos
from experiments.scores.real_clips import RealClips
from experiments.scores.scoring import real_videos, side_of
from registry.schema.spec import Spec
from tests.fixtures.made_videos import write_video
from tests.fixtures.toy_replicates import plan_of

LEVELS = {"bend": 40, "jack": 120, "wave": 200}  # brightness of the videos of a class
VIDEOS = 4  # of a class


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Spec, Prepared]:
    """Four videos of each of three classes; the last one of a class is another split's and shows stripes."""
    root = tmp_path_factory.mktemp("real")
    rows = ["path,label,split"]
    for name, level in LEVELS.items():
        for number in range(VIDEOS):
            frames = np.full((9, 48, 64, 3), level + 6 * number, np.uint8)
            frames[:, :: 2 if number == VIDEOS - 1 else 99] //= 2
            write_video(root / "videos" / name / f"{number}.mp4", frames)
            rows.append(f"{name}/{number}.mp4,{name},{'test' if number == VIDEOS - 1 else 'train'}")
    (root / "videos" / "split.csv").write_text("\n".join(rows) + "\n")
    told = ("data.dataset=video_folder", f"data.path={root / 'videos'}", "model.classes=3", "scoring.real_clips=20")
    spec = plan_of(root, *told, "scoring.split=train", "scoring.clips_per_video=2").arms[0].spec
    return spec, prepare(Assembly(spec).dataset(), root / "data", [4])


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the videos that are decoded."""
    names: list[str] = []
    really = PreparedVideos.read

    def counting(self: PreparedVideos, video: Video, indices: Sequence[int]) -> np.ndarray:
        names.append(video.name)
        return really(self, video, indices)

    monkeypatch.setattr(PreparedVideos, "read", counting)
    return names


def test_each_is_of_its_class_and_another_video_each_time(data: tuple[Spec, Prepared], read: list[str]) -> None:
    real = RealClips(*data)
    assert read == []
    wanted = [0, 1, 2, 0, 1, 2, 2]
    clips, problems = real.matched(wanted)
    assert problems == []
    assert len(read) == len(wanted) == len(set(read))
    for clip, rank, name in zip(clips, wanted, read, strict=True):
        assert clip is not None
        assert (clip.dtype, clip.shape) == (np.uint8, (4, 16, 16, 3))
        label = list(LEVELS)[rank]
        assert name.startswith(f"{label}/")
        assert abs(float(np.median(clip)) - LEVELS[label]) < 25  # classes are 80 apart
    again, _ = RealClips(*data).matched(wanted)
    assert all(np.array_equal(a, b) for a, b in zip(clips, again, strict=True))


def test_they_are_clips_of_the_scores_real_side(data: tuple[Spec, Prepared], read: list[str]) -> None:
    spec, prepared = data
    side, _ = side_of(spec.scoring, "real", real_videos(spec, prepared))
    clips, _ = RealClips(spec, prepared).matched([None] * 18)  # two of each of the nine videos of the split
    assert all(clip is not None for clip in clips)
    assert sorted(read) == sorted(clip.video.name for clip in side.clips)
    assert len(set(read[:9])) == 9  # no video twice before each was there once
    assert not any(name.endswith(f"{VIDEOS - 1}.mp4") for name in read)


def test_where_a_class_has_no_more_clips_there_is_none(data: tuple[Spec, Prepared]) -> None:
    clips, problems = RealClips(*data).matched([1] * 8)
    assert [clip is None for clip in clips] == [False] * 6 + [True] * 2
    assert problems == []
    assert RealClips(*data).matched([7]) == ([None], [])


def test_one_that_cannot_be_read_is_named_and_the_others_go_on(data: tuple[Spec, Prepared], read: list[str]) -> None:
    spec, prepared = data
    RealClips(spec, prepared).matched([0])
    path = Path(str(spec.data.path)) / read[0]
    content = path.read_bytes()
    path.unlink()
    try:
        clips, problems = RealClips(spec, prepared).matched([0, 0, 1])
    finally:
        path.write_bytes(content)
    assert [clip is None for clip in clips] == [True, False, False]
    (problem,) = problems
    assert read[0] in problem
    assert "\n" not in problem
