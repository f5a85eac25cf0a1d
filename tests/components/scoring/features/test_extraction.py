"""Features into files: the same bits by any number of processes and any batches, and nothing lost by a failure."""

import itertools
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.scoring.contracts import Features
from components.scoring.features.clip_selection import Clip, Video
from components.scoring.features.extraction import (
    Measuring,
    Side,
    extractor_key,
    features_in,
    features_of,
    measure,
    never,
)
from components.scoring.features.preprocessing import Treatment
from components.scoring.protocol_metrics import build_metrics
from experiments.scores.scoring import reference
from registry.errors import Interrupted, RunError
from registry.experiment.resolve import resolve_protocol
from registry.parts.catalogue import catalogue
from registry.runs.files import locked
from registry.schema.protocol import Protocol
from tests.waiting import PATIENCE, until

CLIPS, FRAMES, SIDE = 16, 4, 16


def protocol_of(**written: Any) -> Protocol:
    own = {"detector": {"name": "random_r3d", "width": 4}, "frames": FRAMES, **written}
    protocol, problems = resolve_protocol(own, catalogue())
    assert protocol is not None, problems
    return protocol


PROTOCOL = protocol_of()
METRICS = build_metrics(PROTOCOL, catalogue())
(KEY,) = {extractor_key(metric.extractor) for metric in METRICS}
HOW = Measuring(PROTOCOL)
AS_THEY_ARE = Treatment(None, "center_square_then_resize", "lanczos", True, (), 75, "4:2:0", 5)


@dataclass
class Counted:
    """Videos in memory that note what is read in a file, so that other processes are counted as well.

    `dies_at` is a video whose reading ends the process; `until` is a file before which nothing is read.
    """

    log: Path
    gone: tuple[int, ...] = ()
    dies_at: int | None = None
    until: Path | None = None
    name: str = "made"
    digest: str = "0" * 64
    rejected: list[tuple[str, str]] = field(default_factory=list)

    @property
    def listed(self) -> list[Video]:
        return [Video(k, f"v{k:03d}", f"{k:064d}", FRAMES, SIDE, SIDE, "raw") for k in range(CLIPS)]

    def read(self, video: Video, indices: Any) -> np.ndarray:
        with self.log.open("a") as file:
            file.write(f"{video.number}\n")
        if self.until is not None:
            until(self.until.exists, f"{self.until} is there")
        if video.number in self.gone:
            raise RunError(f"{video.name}: is gone")
        if video.number == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return clip_of(video.number)[list(indices)]

    def reads(self) -> list[int]:
        return [int(line) for line in self.log.read_text().split()] if self.log.exists() else []


def clip_of(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (FRAMES, SIDE, SIDE, 3), np.uint8)


def side_of(videos: Any, treatment: Treatment = AS_THEY_ARE) -> Side:
    clips = tuple(Clip(video, tuple(range(FRAMES))) for video in videos.listed)
    return Side("real", videos, clips, treatment)


def nothing(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of features, measured in this process, a clip at a time."""
    folder = tmp_path_factory.mktemp("expected")
    measure(side_of(Counted(folder / "log")), METRICS, replace(HOW, batch_size=1), folder, nothing)
    return (folder / f"{KEY}.npy").read_bytes()


@pytest.mark.parametrize(("processes", "batch"), [(1, 7), (1, 32), (2, 7), (3, 1)])
def test_neither_processes_nor_batches_change_a_bit(
    tmp_path: Path, expected: bytes, processes: int, batch: int
) -> None:
    videos = Counted(tmp_path / "log")
    found = measure(side_of(videos), METRICS, replace(HOW, processes=processes, batch_size=batch), tmp_path, nothing)
    assert (tmp_path / f"{KEY}.npy").read_bytes() == expected
    assert sorted(videos.reads()) == list(range(CLIPS))
    assert found[KEY].clips == CLIPS


def test_neither_do_the_threads_of_torch(tmp_path: Path, expected: bytes) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        measure(side_of(Counted(tmp_path / "log")), METRICS, HOW, tmp_path, nothing)
        assert torch.get_num_threads() == 3  # given back
    finally:
        torch.set_num_threads(before)
    assert (tmp_path / f"{KEY}.npy").read_bytes() == expected


def test_features_are_those_of_each_clip_alone_in_order(tmp_path: Path, expected: bytes) -> None:
    (tmp_path / "features.npy").write_bytes(expected)
    array = np.load(tmp_path / "features.npy")
    extractor = METRICS[0].extractor
    assert (array.shape, array.dtype) == ((CLIPS, 1, extractor.dimensions), np.float32)
    for number in (0, 7, CLIPS - 1):
        assert np.array_equal(array[number], features_of(extractor, clip_of(number)))


def test_a_clip_does_not_depend_on_the_others(tmp_path: Path, expected: bytes) -> None:
    (tmp_path / "all.npy").write_bytes(expected)
    whole, (clips, *_) = np.load(tmp_path / "all.npy"), (side_of(Counted(tmp_path / "log")).clips,)
    side = replace(side_of(Counted(tmp_path / "log")), clips=clips[9:4:-2])
    found = measure(side, METRICS, HOW, tmp_path / "some", nothing)
    assert np.array_equal(found[KEY].of([0, 1, 2]), whole[9:4:-2, 0])


def test_measured_once(tmp_path: Path) -> None:
    side = side_of(videos := Counted(tmp_path / "log"))
    first = measure(side, METRICS, HOW, tmp_path, nothing)
    again = measure(side, METRICS, HOW, tmp_path, nothing)
    assert len(videos.reads()) == CLIPS
    assert np.array_equal(first[KEY].of(range(CLIPS)), again[KEY].of(range(CLIPS)))
    assert features_in(tmp_path, METRICS, side) is not None
    assert features_in(tmp_path / "elsewhere", METRICS, side) is None


def test_a_failure_keeps_what_was_measured(tmp_path: Path, expected: bytes) -> None:
    broken, told = Counted(tmp_path / "log", gone=(10,)), []
    with pytest.raises(RunError, match="v010: is gone"):
        measure(side_of(broken), METRICS, replace(HOW, batch_size=4), tmp_path, nothing)
    assert broken.reads() == list(range(11))
    assert not (tmp_path / f"{KEY}.npy").exists()  # nobody takes half a file for a whole one
    assert features_in(tmp_path, METRICS, side_of(broken)) is None
    mended = Counted(tmp_path / "second")
    measure(side_of(mended), METRICS, replace(HOW, batch_size=3), tmp_path, lambda *about: told.append(about))
    assert mended.reads() == list(range(8, CLIPS))
    assert told[0][1:] == (8, CLIPS)
    assert told[-1][1:] == (CLIPS, CLIPS)
    assert (tmp_path / f"{KEY}.npy").read_bytes() == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f"{KEY}.npy", "log", "second"])


def test_a_failure_in_another_process_is_told_as_here(tmp_path: Path, expected: bytes) -> None:
    broken = Counted(tmp_path / "log", gone=(15,))
    with pytest.raises(RunError, match="v015: is gone"):
        measure(side_of(broken), METRICS, replace(HOW, processes=2, batch_size=1), tmp_path, nothing)
    mended = Counted(tmp_path / "second")
    measure(side_of(mended), METRICS, HOW, tmp_path, nothing)
    assert set(mended.reads()) < set(range(CLIPS))
    assert 15 in mended.reads()
    assert (tmp_path / f"{KEY}.npy").read_bytes() == expected


def test_a_killed_process_is_told_in_words(tmp_path: Path, expected: bytes) -> None:
    deadly = Counted(tmp_path / "log", dies_at=12)
    with pytest.raises(RunError, match=r"a measuring process died .*killed.* of 16 real clips; they are kept"):
        measure(side_of(deadly), METRICS, replace(HOW, processes=2, batch_size=2), tmp_path, nothing)
    mended = Counted(tmp_path / "second")
    measure(side_of(mended), METRICS, HOW, tmp_path, nothing)
    assert 0 < len(mended.reads()) < CLIPS
    assert (tmp_path / f"{KEY}.npy").read_bytes() == expected


def after(times: int) -> Callable[[], bool]:
    """Answers yes when it was asked so often."""
    asked = itertools.count(1)
    return lambda: next(asked) >= times


@pytest.mark.parametrize("processes", [1, 2])
def test_stopped_while_measuring_goes_on_behind_it(tmp_path: Path, expected: bytes, processes: int) -> None:
    how, told = replace(HOW, processes=processes, batch_size=2), []
    with pytest.raises(Interrupted, match="stopped after 6 of 16 measured real clips"):
        measure(side_of(Counted(tmp_path / "log")), METRICS, how, tmp_path, nothing, stop=after(3))
    assert not multiprocessing.active_children()
    second = Counted(tmp_path / "second")
    measure(side_of(second), METRICS, how, tmp_path, lambda *about: told.append(about))
    assert told[0][1] >= 6
    assert len(second.reads()) == CLIPS - told[0][1]
    assert (tmp_path / f"{KEY}.npy").read_bytes() == expected


def test_stopped_behind_the_last_clip(tmp_path: Path, expected: bytes) -> None:
    how = replace(HOW, batch_size=4)
    with pytest.raises(Interrupted, match="stopped after 16 of 16"):
        measure(side_of(Counted(tmp_path / "log")), METRICS, how, tmp_path, nothing, stop=after(4))
    second = Counted(tmp_path / "second")
    measure(side_of(second), METRICS, how, tmp_path, nothing)
    assert second.reads() == []
    assert (tmp_path / f"{KEY}.npy").read_bytes() == expected


def test_a_process_that_was_killed_while_stopping_is_no_failure(tmp_path: Path, expected: bytes) -> None:
    deadly, how = Counted(tmp_path / "log", dies_at=12), replace(HOW, processes=2, batch_size=2)
    with pytest.raises(Interrupted):
        measure(side_of(deadly), METRICS, how, tmp_path, nothing, stop=lambda: 12 in deadly.reads())
    measure(side_of(Counted(tmp_path / "second")), METRICS, HOW, tmp_path, nothing)
    assert (tmp_path / f"{KEY}.npy").read_bytes() == expected


def test_clips_too_short_for_the_extractor_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    videos = Counted(tmp_path / "log")
    side = replace(side_of(videos), clips=tuple(Clip(video, (0,)) for video in videos.listed))
    with pytest.raises(RunError, match=r"random_r3d needs clips of at least 2 frames, not 1; take longer .*frames=…"):
        measure(side, METRICS, HOW, tmp_path, nothing)
    assert videos.reads() == []


def test_a_second_extractor_is_measured_beside_the_first(tmp_path: Path) -> None:
    videos = Counted(tmp_path / "log")
    measure(side_of(videos), METRICS, HOW, tmp_path, nothing)
    others = build_metrics(protocol_of(detector={"name": "random_r3d", "width": 4, "seed": 1}), catalogue())
    assert extractor_key(others[0].extractor) != KEY
    found = measure(side_of(videos), [*METRICS, *others], HOW, tmp_path, nothing)
    assert len(found) == 2
    assert len(videos.reads()) == 2 * CLIPS


def test_the_key_of_a_side_is_all_that_its_features_depend_on(tmp_path: Path) -> None:
    side = side_of(Counted(tmp_path / "log"))
    others = [
        replace(side, videos=Counted(tmp_path / "log", digest="1" * 64)),
        replace(side, clips=side.clips[::-1]),
        replace(side, clips=side.clips[:-1]),
        replace(side, clips=tuple(replace(clip, indices=clip.indices[::-1]) for clip in side.clips)),
        replace(side, treatment=replace(AS_THEY_ARE, resolution=8)),
        replace(side, treatment=replace(AS_THEY_ARE, storage=("jpeg",))),
    ]
    assert len({side.key, *(other.key for other in others)}) == 1 + len(others)
    assert side_of(Counted(tmp_path / "another log")).key == side.key
    assert replace(side, side="fake").key == side.key  # floors measure real clips on both sides


def test_the_treatment_comes_before_the_extractor(tmp_path: Path) -> None:
    treatment = replace(AS_THEY_ARE, resolution=8)
    found = measure(side_of(Counted(tmp_path / "log"), treatment), METRICS, HOW, tmp_path, nothing)
    alone = features_of(METRICS[0].extractor, treatment(clip_of(3), "raw"))
    assert np.array_equal(found[KEY].of([3]), alone)


# ---------------------------------------------------------------- processes that measure together


@dataclass
class Rank:
    """One of several processes that measure together, here a thread."""

    rank: int
    world: int
    gate: threading.Barrier
    board: list[Any]
    said: dict[int, tuple[bool, RunError | None]]

    def shared(self, value: Any = None) -> Any:
        if self.rank == 0:
            self.board[:] = [value]
        self.gate.wait(PATIENCE)
        said = self.board[0]
        self.gate.wait(PATIENCE)
        return said

    def agree(self, stop: bool, failed: RunError | None = None) -> bool:
        self.said[self.rank] = (stop, failed)
        self.gate.wait(PATIENCE)
        stops, errors = zip(*self.said.values(), strict=True)
        self.gate.wait(PATIENCE)
        if not any(stops) and any(errors):
            raise next(filter(None, errors))
        return any(stops)

    def made_by_first(self, work: Callable[[], Any]) -> Any:
        return self.shared(work() if self.rank == 0 else None)

    def barrier(self) -> None:
        self.gate.wait(PATIENCE)


def measure_together(
    world: int,
    folder: Path,
    log: Path,
    gone: dict[int, tuple[int, ...]] | None = None,
    batch: int = 2,
    stops: dict[int, Callable[[], bool]] | None = None,
) -> list[Any]:
    """What `measure` gives in each of so many processes, each with videos of its own; its error where it fails."""
    gate, board, said, torch_threads = threading.Barrier(world), [], {}, torch.get_num_threads()

    def work(rank: int) -> Any:
        videos = Counted(log / f"{world}-{rank}", gone=(gone or {}).get(rank, ()))
        metrics = build_metrics(PROTOCOL, catalogue())
        how, this = replace(HOW, batch_size=batch, processes=1), Rank(rank, world, gate, board, said)
        try:
            stop = (stops or {}).get(rank, never)
            return measure(side_of(videos), metrics, how, folder, nothing, together=this, stop=stop)
        except Interrupted as stopped:
            return stopped
        except RunError as error:
            return error

    try:
        with ThreadPoolExecutor(world) as pool:
            return list(pool.map(work, range(world)))
    finally:
        torch.set_num_threads(torch_threads)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_shares_of_several_machines_are_the_same_file(tmp_path: Path, expected: bytes, world: int) -> None:
    """Each into a file of its own; rank 0 brings them together, and alone gives the features."""
    first, *others = measure_together(world, tmp_path / "made", tmp_path)
    assert first[KEY].clips == CLIPS
    assert others == [{}] * (world - 1)
    assert [path.name for path in (tmp_path / "made").iterdir()] == [f"{KEY}.npy"]
    assert (tmp_path / "made" / f"{KEY}.npy").read_bytes() == expected
    read = [Counted(tmp_path / f"{world}-{rank}").reads() for rank in range(world)]
    assert sorted(itertools.chain.from_iterable(read)) == list(range(CLIPS))
    assert max(map(len, read)) - min(map(len, read)) <= 1


def test_what_other_machines_measured_before_a_failure_is_kept(tmp_path: Path, expected: bytes) -> None:
    """By another number of processes as well."""
    made = tmp_path / "made"
    first, second, third = measure_together(3, made, tmp_path, gone={1: (13,)})
    assert {str(first), str(second), str(third)} == {"v013: is gone"}  # all know it, and end
    assert not (made / f"{KEY}.npy").exists()
    read = [Counted(tmp_path / f"3-{rank}").reads() for rank in range(3)]
    # Rank 1 wrote its whole batches before the one with clip 13 in it.
    done = {*read[0], *read[2], *read[1][: (read[1].index(13)) // 2 * 2]}
    assert 0 < len(done) < CLIPS
    measure_together(2, made, tmp_path)
    again = [clip for rank in range(2) for clip in Counted(tmp_path / f"2-{rank}").reads()]
    assert sorted(again) == sorted(set(range(CLIPS)) - done)
    assert [path.name for path in made.iterdir()] == [f"{KEY}.npy"]
    assert (made / f"{KEY}.npy").read_bytes() == expected


@pytest.mark.parametrize(("batch", "asked", "left"), [(2, 1, 4), (5, 0, 0), (5, 2, 0)])
def test_all_stop_at_once_whoever_is_asked_to(
    tmp_path: Path, expected: bytes, batch: int, asked: int, left: int
) -> None:
    """6, 5 and 5 clips in batches of 5 are two, one and one: all ask along with the first in its second turn."""
    made = tmp_path / "made"
    found = measure_together(3, made, tmp_path, batch=batch, stops={asked: after(2)})
    assert [type(error) for error in found] == [Interrupted] * 3
    assert str(found[0]) == f"stopped after {CLIPS - left} of 16 measured real clips"
    assert not (made / f"{KEY}.npy").exists()
    measure_together(2, made, tmp_path)
    assert sum(len(Counted(tmp_path / f"2-{rank}").reads()) for rank in range(2)) == left
    assert [path.name for path in made.iterdir()] == [f"{KEY}.npy"]
    assert (made / f"{KEY}.npy").read_bytes() == expected


# ---------------------------------------------------------------- a reference that many want


def ask(folder: Path, name: str, barrier: Any) -> None:
    """A process that wants the reference; notes what it was told and what it got."""
    log = folder / f"{name}.log"
    somebody_waits, waited = folder / "waits", []
    videos = Counted(log, until=somebody_waits)  # who is first does not read before the other has come

    def progress(stage: str, done: int, total: int) -> None:
        if stage.startswith("waiting for another process"):
            waited.append(stage)
            somebody_waits.touch()

    barrier.wait()
    own, found = reference(side_of(videos), METRICS, HOW, folder / "references", progress)
    array = found[KEY].of(range(CLIPS))
    about = {"reads": len(videos.reads()), "waited": len(waited), "sum": float(array.sum()), "folder": str(own)}
    (folder / f"{name}.json").write_text(json.dumps(about))


def test_of_processes_that_want_the_same_reference_one_measures(tmp_path: Path, expected: bytes) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    asking = [context.Process(target=ask, args=(tmp_path, name, barrier)) for name in "ab"]
    for process in asking:
        process.start()
    for process in asking:
        process.join(PATIENCE)
        assert process.exitcode == 0
    told = [json.loads((tmp_path / f"{name}.json").read_text()) for name in "ab"]
    assert {about["sum"] for about in told} == {told[0]["sum"]}
    assert {about["folder"] for about in told} == {told[0]["folder"]}
    assert sorted(about["reads"] > 0 for about in told) == [False, True]
    assert [about["waited"] > 0 for about in told if not about["reads"]] == [True]  # and says so
    own = Path(told[0]["folder"])
    assert (own / f"{KEY}.npy").read_bytes() == expected
    about = json.loads((own / f"{KEY}.json").read_text())
    assert (about["clips"], about["data"]) == (CLIPS, "0" * 64)
    assert about["made"]["host"]
    assert np.load(own / "clips.npy").shape == (8, FRAMES, SIDE, SIDE, 3)


def test_a_reference_is_found_by_those_who_come_later(tmp_path: Path) -> None:
    first, second = Counted(tmp_path / "first"), Counted(tmp_path / "second")
    own, _ = reference(side_of(first), METRICS, HOW, tmp_path, nothing)
    assert reference(side_of(second), METRICS, HOW, tmp_path, nothing)[0] == own
    assert second.reads() == []


def test_who_waits_for_a_reference_of_another_can_be_stopped(tmp_path: Path) -> None:
    side, told = side_of(Counted(tmp_path / "log")), []
    with locked(tmp_path / side.key[:16]), pytest.raises(Interrupted, match="while another process measured the real"):
        reference(side, METRICS, HOW, tmp_path, lambda *about: told.append(about[0]), stop=after(2))
    assert told == ["waiting for another process that measures the same"] * 2
    assert side.videos.reads() == []


def test_a_reference_that_was_left_half_measured_is_finished(tmp_path: Path, expected: bytes) -> None:
    with pytest.raises(RunError, match="v009: is gone"):
        reference(side_of(Counted(tmp_path / "first", gone=(9,))), METRICS, HOW, tmp_path, nothing)
    second = Counted(tmp_path / "second")
    own, _ = reference(side_of(second), METRICS, HOW, tmp_path, nothing)
    assert second.reads()[:8] == list(range(8, CLIPS))
    assert (own / f"{KEY}.npy").read_bytes() == expected


# ---------------------------------------------------------------- reading them


def test_features_are_read_in_blocks_by_number(tmp_path: Path) -> None:
    array = np.arange(600 * 2 * 3, dtype=np.float32).reshape(600, 2, 3)
    np.save(tmp_path / "features.npy", array)
    for features in (Features(tmp_path / "features.npy"), Features(array)):
        assert (features.clips, features.rows_per_clip, features.dimensions) == (600, 2, 3)
        assert [len(block) for block in features.blocks()] == [512, 512, 176]
        assert np.array_equal(np.concatenate(list(features.blocks())), array.reshape(-1, 3))
        odd = features.subset(range(1, 600, 2)).subset([2, 0])
        assert odd.clips == 2
        assert np.array_equal(odd.of([0, 1]), array[[5, 1]].reshape(-1, 3))
        assert np.array_equal(next(odd.blocks([1])), array[1])


@pytest.mark.parametrize("array", [np.zeros((4, 3), np.float32), np.zeros((4, 1, 3), np.float64)])
def test_other_features_are_refused(array: np.ndarray) -> None:
    with pytest.raises(RunError, match=r"features must be float32 \(clips, rows, D\)"):
        Features(array)
