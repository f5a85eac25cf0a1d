"""Floors: what a score is where nothing can be better, at the same counts and under the same protocol."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.scoring.contracts import Features
from components.scoring.features.clip_selection import Clip, Video
from components.scoring.features.extraction import Measuring, Side, extractor_key
from components.scoring.features.preprocessing import Treatment
from components.scoring.protocol_metrics import build_metrics
from experiments.launch import in_process
from experiments.launch.launching import launch_all
from experiments.launch.preparing import late_floor, prepare_data
from experiments.plan.plan import Plan
from experiments.sampling import trainings as sampling
from experiments.scores import floors
from experiments.scores.floors import DRAWS, add_floors, real_halves
from experiments.scores.floors import pool_of as measured_pool
from experiments.scores.scoring import Counts, planned_fake
from experiments.training.open_data import open_data
from registry.experiment.resolve import resolve_protocol
from registry.parts.catalogue import catalogue
from registry.runs.floors import read_floors
from registry.runs.records import Floor
from tests.fixtures.toy_replicates import nothing, plan_of

SCORES = {"fvd[random_r3d]", "kvd[random_r3d]"}
TOY = ("seeds=[0]", "scoring.detector={name: random_r3d, width: 4}", "learning.steps=2")


def unwatched(todo: Any) -> None:
    """Nobody watches the pool."""


# ---------------------------------------------------------------- splits


def pool_of(clips_of: list[int]) -> Side:
    """A side with so many clips of each video."""
    clips = [
        Clip(Video(number, f"v{number:03d}", str(number), 99, 16, 16, "raw"), (start,))
        for number, count in enumerate(clips_of)
        for start in range(count)
    ]
    return Side("real", None, tuple(clips), Treatment(None, "", "", True, (), 75, "4:2:0", 5))  # type: ignore[arg-type]


def splits(pool: Side, fake: Counts, real: Counts) -> list[tuple[list[int], list[int]]]:
    return list(floors._splits(pool, fake, real))


def singly(n_fake: int, n_real: int) -> tuple[Counts, Counts]:
    """A clip a video on either side."""
    return Counts(n_fake, n_fake), Counts(n_real, n_real)


@pytest.mark.parametrize("clips_of", [[1] * 40, [3] * 20, [1, 5, 2, 4, 1, 7, 3, 2, 6, 9]])
def test_halves_share_no_video_and_no_clip(clips_of: list[int]) -> None:
    pool = pool_of(clips_of)
    wanted = Counts(4, 4), Counts(12, 6)
    found = splits(pool, *wanted)
    assert len(found) == DRAWS
    assert len({str(pair) for pair in found}) == DRAWS
    for left, right in found:
        videos = [{pool.clips[number].video.number for number in part} for part in (left, right)]
        assert not videos[0] & videos[1]
        assert len(set(left)) == len(left)
        assert len(set(right)) == len(right)
    assert found == splits(pool, *wanted)


@pytest.mark.parametrize(
    ("clips_of", "fake", "real", "halves"),
    [
        ([2] * 102, (64, 64), (200, 102), ((39, 39), (123, 63))),  # the quickstart's counts: 0.614 of either
        ([2] * 200, (64, 64), (200, 102), ((64, 64), (200, 102))),
        ([4] * 12, (8, 8), (40, 10), ((5, 5), (27, 7))),
        ([4] * 12, (16, 4), (32, 8), ((16, 4), (32, 8))),  # samples that are longer than a clip
        ([1] * 12, (8, 8), (40, 10), ((5, 5), (7, 7))),  # videos that have no second clip
    ],
)
def test_a_half_has_the_clips_a_video_of_the_side_that_it_stands_for(
    clips_of: list[int], fake: tuple[int, int], real: tuple[int, int], halves: tuple[tuple[int, int], ...]
) -> None:
    pool = pool_of(clips_of)
    for parts in splits(pool, Counts(*fake), Counts(*real)):
        assert tuple(Counts.of([pool.clips[number] for number in part]) for part in parts) == halves


@pytest.mark.parametrize(
    ("videos", "wanted", "counts"),
    [
        (40, (8, 12), (8, 12)),  # enough for both
        (20, (8, 12), (8, 12)),
        (10, (8, 12), (4, 6)),  # half of either
        (40, (60, 20), (30, 10)),
        (4, (1000, 1000), (2, 2)),
        (4, (1000, 2), (2, 2)),
    ],
)
def test_counts_are_those_planned_or_smaller_by_one_share(
    videos: int, wanted: tuple[int, int], counts: tuple[int, int]
) -> None:
    for left, right in splits(pool_of([1] * videos), *singly(*wanted)):
        assert (len(left), len(right)) == counts


@pytest.mark.parametrize("videos", [2, 3])
def test_fewer_than_four_videos_have_no_halves(videos: int) -> None:
    assert splits(pool_of([5] * videos), *singly(4, 4)) == []


# ---------------------------------------------------------------- real halves of videos in memory


class Made:
    """Videos in memory, each of its own brightness."""

    name, digest = "made", "0" * 64
    rejected: tuple[()] = ()

    def __init__(self, videos: int) -> None:
        self.listed = [Video(k, f"v{k:03d}", str(k), 6, 16, 16, "raw") for k in range(videos)]

    def read(self, video: Video, indices: Any) -> np.ndarray:
        draw = np.random.default_rng(video.number)
        return draw.integers(0, 200, (6, 16, 16, 3), np.uint8)[list(indices)] + np.uint8(video.number)


def halves_of(videos: int, folder: Path, n_fake: int = 6, **written: Any) -> list[Floor]:
    own = {"detector": {"name": "random_r3d", "width": 4}, "frames": 4, **written}
    protocol, problems = resolve_protocol(own, catalogue())
    assert protocol is not None, problems
    metrics = build_metrics(protocol, catalogue())
    made: Any = Made(videos)
    fake, how = Counts(n_fake, n_fake), Measuring(protocol)
    pool = measured_pool(protocol, made, fake, False, metrics, how, folder, nothing)
    return real_halves(pool, metrics)


def test_real_halves_have_a_value_a_draw_at_the_scores_counts(tmp_path: Path) -> None:
    found = halves_of(20, tmp_path, real_clips=8)
    assert {record.metric for record in found} == SCORES
    for record in found:
        assert (record.floor, record.n_fake, record.n_real, len(record.values)) == ("real_halves", 6, 8, DRAWS)
        assert len(set(record.values)) == DRAWS
    assert all(value > 0 for record in found if record.metric.startswith("fvd") for value in record.values)
    assert found == halves_of(20, tmp_path, real_clips=8)


def test_real_halves_of_few_videos_are_measured_smaller_and_brought_to_the_scores_counts(tmp_path: Path) -> None:
    fvd, kvd = halves_of(7, tmp_path, real_clips=7, n_fake=7)
    assert sum(fvd.measured_at) <= 8
    assert min(fvd.measured_at) >= 2
    for record in (fvd, kvd):
        assert (record.n_fake, record.n_real) == (7, 7)
    share = (2 / 7) / (1 / fvd.measured_at[0] + 1 / fvd.measured_at[1])
    assert fvd.values == pytest.approx([share * value for value in fvd.measured])
    assert kvd.values == kvd.measured  # is not biased
    assert halves_of(3, tmp_path / "few", real_clips=8) == []


# ---------------------------------------------------------------- in an experiment


def launch(plan: Plan) -> None:
    todo = launch_all(plan, "debug", nothing, lambda todo, states: None).todo
    late_floor(plan, todo, nothing)


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """One replicate of the toy experiment, launched in this process with all three floors."""
    plan = plan_of(tmp_path_factory.mktemp("floors"), *TOY, only=["baseline"])
    launch(plan)
    assert [replicate.state for replicate in plan.replicates] == ["done"]
    return plan


def by_floor(plan: Plan) -> dict[tuple[str, str], Floor]:
    return {(record.floor, record.metric): record for record in read_floors(plan.folder)}


def test_a_launch_has_all_three_floors_of_every_score(launched: Plan) -> None:
    found = by_floor(launched)
    assert set(found) == {
        (floor, metric) for floor in ("real_halves", "reconstruction", "resampled") for metric in SCORES
    }
    assert set(json.loads((launched.folder / "floors.json").read_text())) == {"floors"}
    result = launched.replicates[0].result()
    assert result is not None
    for (floor, metric), record in found.items():
        assert record.protocol == result.protocols[metric]  # of the scores that it is set beside
        assert len(record.values) == (1 if floor == "resampled" else DRAWS)
        assert np.isfinite(record.values).all()
        assert (record.n_fake, record.n_real) == (6, 8)
    assert found["resampled", "fvd[random_r3d]"].measured_at == [6, 6]
    owners = {floor: record.of for (floor, _), record in found.items()}
    identity = launched.replicates[0].identity
    assert owners == {"real_halves": "", "reconstruction": "pixels-4", "resampled": f"{identity}/seed-0"}


def test_pixels_lose_nothing_so_reconstruction_equals_real_halves(launched: Plan) -> None:
    found = by_floor(launched)
    for metric in SCORES:
        halves, coded = found["real_halves", metric], found["reconstruction", metric]
        assert coded.values == halves.values
        assert (coded.n_fake, coded.n_real) == (halves.n_fake, halves.n_real)


def test_resampled_has_other_noise_of_the_same_checkpoint(launched: Plan) -> None:
    folder = launched.replicates[0].folder
    first, second = (
        np.concatenate([np.load(path) for path in sorted((folder / name).glob("clips-*.npy"))])
        for name in ("samples", "resampled")
    )
    assert first.shape == second.shape
    assert not any(np.array_equal(a, b) for a in first for b in second)
    assert by_floor(launched)["resampled", "fvd[random_r3d]"].values[0] > 0


@pytest.fixture
def forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be measured, sampled or coded."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("it was computed again")

    for module, name in ((floors, "measure"), (floors, "reference"), (floors, "sample"), (floors, "_coded"),
                         (sampling, "trained_network"), (in_process, "run_training")):  # fmt: skip
        monkeypatch.setattr(module, name, refuse)


@pytest.mark.usefixtures("forbidden")
def test_a_second_launch_measures_nothing_again(launched: Plan) -> None:
    before = (launched.folder / "floors.json").read_bytes()
    launch(launched)
    assert (launched.folder / "floors.json").read_bytes() == before


def test_no_floor_of_resampling_is_waited_for_where_clips_were_held_out(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, *TOY, "scoring.metrics=[fvd, fvd_test]", "floors=[resampled]", only=["baseline"])
    launch(plan)
    result = plan.replicates[0].result()
    assert result is not None
    assert any("held_out" in bound for bound in result.protocol_specs.values())
    assert {record.metric for record in read_floors(plan.folder)} == {"fvd[random_r3d]"}
    assert not late_floor(plan, plan.replicates, nothing)


def test_resampling_that_gave_a_score_no_floor_is_not_tried_again(
    launched: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(tmp_path, *TOY, "floors=[resampled]", only=["baseline"])
    only_kvd = [record for record in read_floors(launched.folder) if record.metric == "kvd[random_r3d]"]
    monkeypatch.setattr(floors, "resampled", lambda *words: [one for one in only_kvd if one.floor == "resampled"])
    launch(plan)
    assert {record.metric for record in read_floors(plan.folder)} == {"kvd[random_r3d]"}
    assert not late_floor(plan, plan.replicates, nothing)
    (plan.folder / "floors.json").unlink()  # what was there and is lost is measured again
    assert late_floor(plan, plan.replicates, nothing)
    assert not late_floor(plan, plan.replicates, nothing)


@pytest.mark.usefixtures("forbidden")
def test_without_floors_none_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(tmp_path, *TOY, "floors=[]", only=["baseline"])
    prepare_data(plan, nothing)
    assert read_floors(plan.folder) == []


def test_only_the_floors_that_are_asked_for_are_kept(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, *TOY, "floors=[reconstruction]", only=["baseline"])
    prepare_data(plan, nothing)
    assert {record.floor for record in read_floors(plan.folder)} == {"reconstruction"}


def test_another_protocol_has_floors_of_its_own(launched: Plan) -> None:
    before = read_floors(launched.folder)
    plan = plan_of(launched.runs.parent, *TOY, "floors=[real_halves]", "scoring.seed=1", only=["baseline"])
    prepare_data(plan, nothing)
    after = read_floors(launched.folder)
    assert [record for record in after if record in before] == before
    new = [record for record in after if record not in before]
    assert {(record.floor, record.metric) for record in new} == {("real_halves", metric) for metric in SCORES}
    assert not {record.protocol for record in new} & {record.protocol for record in before}


def test_planned_counts_are_those_of_the_samples(launched: Plan) -> None:
    spec, result = launched.replicates[0].spec, launched.replicates[0].result()
    assert result is not None
    assert planned_fake(spec) == Counts(clips=6, videos=6)
    assert {about["n_fake"] for about in result.score_details.values()} == {6}
    prepared, _ = open_data(launched.replicates[0])
    metrics = build_metrics(spec.scoring, catalogue())
    assert floors.protocols_of(spec, prepared, metrics) == set(result.protocols.values())


def test_records_are_replaced_by_floor_metric_and_protocol(tmp_path: Path) -> None:
    record = Floor(
        floor="real_halves", metric="fvd", protocol="a" * 10, of="", values=[1.0, 2.0], n_fake=6, n_real=8,
        measured=[1.0, 2.0], measured_at=[6, 8], videos=[6, 4], measured_videos=[6, 4],
    )  # fmt: skip
    add_floors(tmp_path, [])
    assert not (tmp_path / "floors.json").exists()
    changes = ({"metric": "kvd"}, {"protocol": "b" * 10}, {"floor": "resampled"}, {"of": "another"})
    others = [record.model_copy(update=change) for change in changes]
    add_floors(tmp_path, [record, *others])
    newer = record.model_copy(update={"values": [3.0]})
    add_floors(tmp_path, [newer])
    assert read_floors(tmp_path) == [newer, *others]


def test_each_autoencoder_has_a_reconstruction_floor_of_its_own(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, *TOY, "floors=[reconstruction]", "ablate={data.autoencoder.factor: [4, 2]}", "claim=[]")
    prepare_data(plan, nothing)
    assert {record.of for record in read_floors(plan.folder)} == {"pixels-4", "pixels-2"}


def test_the_law_of_the_bias_holds_for_gaussian_features() -> None:
    """A floor of 30 and 60 clips, brought to 120 and 480, is what 120 and 480 clips give, within its spread."""
    metric = build_metrics(resolve_protocol({"detector": "random_r3d"}, catalogue())[0], catalogue())[0]  # type: ignore[arg-type]
    stream = np.random.default_rng(0)

    def floor(at: tuple[int, int]) -> float:
        sides = (Features(stream.normal(size=(n, 1, 16)).astype(np.float32)) for n in at)
        return float(metric.score(*sides)["fvd[random_r3d]"].value)

    factor = floors._factor(metric, "fvd[random_r3d]", singly(30, 60), singly(120, 480))
    few = np.mean([floor((30, 60)) for _ in range(20)]) * factor
    many = np.mean([floor((120, 480)) for _ in range(20)])
    assert few == pytest.approx(many, rel=0.15)


@pytest.mark.parametrize(("of_videos", "clips_per_video"), [(1.0, 2), (0.7, 2), (0.7, 4)])
def test_real_halves_are_what_a_perfect_generator_scores(of_videos: float, clips_per_video: int) -> None:
    """Where clips of a video are alike: 64 samples, each new, are held against several clips of each of 102 videos.

    Args:
        of_videos: part of the variance of a feature that clips of a video share.
        clips_per_video: of the real side.
    """
    protocol = resolve_protocol({"detector": {"name": "random_r3d", "width": 4}, "frames": 4}, catalogue())[0]
    assert protocol is not None
    (metric, _), stream = build_metrics(protocol, catalogue()), np.random.default_rng(0)

    def features(videos: int, clips: int) -> Features:
        """4 numbers of each clip, Gaussian and all of one law."""
        shared = stream.normal(size=(videos, 1, 4)) * of_videos**0.5
        own = stream.normal(size=(videos, clips, 4)) * (1 - of_videos) ** 0.5
        numbers = np.repeat(np.arange(videos), clips)
        return Features((shared + own).reshape(-1, 1, 4).astype(np.float32), videos=numbers)

    videos: Any = Made(102)
    side = replace(pool_of([clips_per_video] * 102), videos=videos)
    floor, perfect = [], []
    for _ in range(40):
        real = features(102, clips_per_video)
        pool = floors.Pool(protocol, side, Counts(64, 64), False, side, {extractor_key(metric.extractor): real})
        record = next(found for found in real_halves(pool, [metric]) if found.metric == "fvd[random_r3d]")
        floor.append(np.mean(record.values))
        perfect += [metric.score(features(64, 1), real)["fvd[random_r3d]"].value for _ in range(3)]
        assert (record.videos, record.measured_videos) == ([64, 102], [39, 63])
        assert (record.n_fake, record.n_real) == (64, 102 * clips_per_video)
    # The means scatter by 6 %; where clips counted as videos, the floor was too high by 35, 53 and 119 %.
    assert np.mean(floor) == pytest.approx(np.mean(perfect), rel=0.15)
