"""The protocol as a spec: presets, what is refused, and that its fingerprint changes with everything that counts."""

from typing import Any

import pytest

from registry.experiment.resolve import resolve_protocol
from registry.parts.catalogue import catalogue
from registry.schema.protocol import FINGERPRINT_LENGTH, FOLDERS, PRESETS, Protocol, describe, fingerprint, with_preset
from tests.fixtures.networks import resolved

CHANGES: dict[str, Any] = {
    "frames": 8,
    "picking": "linspace",
    "clips_per_video": 2,
    "shortest": "whole_intervals",
    "seed": 1,
    "real_clips": 2047,
    "fake_clips": 2047,
    "real_interval": 2,
    "fake_interval": 2,
    "real_start": "first",
    "fake_start": "first",
    "real_short": "refuse",
    "fake_short": "refuse",
    "resolution": 64,
    "transform": "short_side_then_center_crop",
    "kernel": "bicubic",
    "antialias": False,
    "real_storage": ("png",),
    "fake_storage": ("jpeg",),
}
OF_STEPS = {"jpeg_quality": (95, "jpeg"), "jpeg_subsampling": ("4:4:4", "jpeg"), "h264_crf": (23, "h264")}
# The detectors and the metrics are in the bound protocol by what they are: weights, layer, estimator.
BY_WHAT_THEY_ARE = {"detector", "second_opinions", "metrics"}
NOTED = {"protocol", "split"}  # the data's digest says which videos they were, whatever split they came from


def of(**written: Any) -> Protocol:
    protocol, problems = resolve_protocol(written, catalogue())
    assert protocol is not None, problems
    return protocol


def refused(**written: Any) -> list[tuple[str, str]]:
    protocol, problems = resolve_protocol(written, catalogue())
    assert protocol is None
    return [(".".join(key), message) for key, message in problems]


def test_every_field_is_tested_here() -> None:
    assert set(Protocol.model_fields) == {*CHANGES, *OF_STEPS, *BY_WHAT_THEY_ARE, *NOTED}


@pytest.mark.parametrize("key", CHANGES)
def test_every_field_changes_the_fingerprint(key: str) -> None:
    base = of(kernel="bilinear")
    other = base.model_copy(update={key: CHANGES[key]})
    assert describe(other) != describe(base)
    assert fingerprint(describe(other)) != fingerprint(describe(base))


def test_the_changes_are_all_different() -> None:
    base = of(kernel="bilinear")
    marks = {fingerprint(describe(base.model_copy(update={key: value}))) for key, value in CHANGES.items()}
    assert len(marks) == len(CHANGES)
    assert all(len(mark) == FINGERPRINT_LENGTH for mark in marks)


@pytest.mark.parametrize("key", OF_STEPS)
def test_settings_of_a_storage_step_count_where_it_is_made(key: str) -> None:
    value, step = OF_STEPS[key]
    for side in ("real_storage", "fake_storage"):
        used = of(**{side: (step,)})
        assert describe(used.model_copy(update={key: value})) != describe(used)
    unused = of(real_storage=("png",))
    assert describe(unused.model_copy(update={key: value})) == describe(unused)


def test_the_name_of_the_preset_is_no_part_of_it() -> None:
    by_name, by_hand = of(protocol="latte_compatible"), of(protocol="clean", **PRESETS["latte_compatible"])
    assert by_name != by_hand
    assert fingerprint(describe(by_name)) == fingerprint(describe(by_hand))


def test_what_is_noted_does_not_count() -> None:
    base = of()
    other = base.model_copy(update={"split": "all"})
    assert describe(other)["noted"] != describe(base)["noted"]
    assert fingerprint(describe(other)) == fingerprint(describe(base))


def test_videos_come_before_pictures() -> None:
    assert of(fake_storage=("h264", "jpeg")).fake_storage == ("h264", "jpeg")
    ((key, told),) = refused(fake_storage=("jpeg", "h264"))
    assert (key, "h264 comes first" in told) == ("fake_storage", True)


def test_latte_compatible_is_what_the_official_tools_do() -> None:
    found = of(protocol="latte_compatible")
    assert (found.real_interval, found.fake_interval) == (3, 1)
    assert (found.real_storage, found.fake_storage) == (("jpeg",), ("h264", "jpeg"))
    assert (found.jpeg_quality, found.jpeg_subsampling, found.h264_crf) == (75, "4:2:0", 5)
    assert (found.kernel, found.antialias, found.resolution) == ("lanczos", True, 256)
    assert (found.real_short, found.fake_short, found.shortest) == ("drop", "refuse", "whole_intervals")
    assert (found.real_start, found.fake_start, found.split) == ("uniform", "first", "train")
    assert (found.detector.name, [metric.name for metric in found.metrics]) == ("i3d", ["fvd"])


def test_clean_treats_both_sides_alike_and_loses_nothing() -> None:
    found = of(protocol="clean")
    for field in ("interval", "start", "short", "storage"):
        assert getattr(found, f"real_{field}") == getattr(found, f"fake_{field}")
    assert not found.real_storage
    assert (found.real_clips, found.fake_clips, found.frames) == (2048, 2048, 16)


def test_demo_is_small() -> None:
    found = of(protocol="demo")
    assert (found.real_clips, found.clips_per_video) == (256, 4)


def test_presets_say_only_what_a_protocol_knows() -> None:
    for name, values in PRESETS.items():
        assert set(values) <= set(Protocol.model_fields)
        assert with_preset({"protocol": name}) == {"protocol": name, **values}
    assert set(FOLDERS) <= set(Protocol.model_fields)
    assert with_preset({"protocol": "demo", "real_clips": 3})["real_clips"] == 3


def test_what_is_written_wins_over_preset_and_folders() -> None:
    found = of(protocol="latte_compatible", real_interval=6, frames=8, detector={"name": "random_r3d", "width": 2})
    assert (found.real_interval, found.frames) == (6, 8)
    assert found.detector.parameters == {"seed": 0, "width": 2}
    assert found.kernel == "lanczos"


def test_left_open_in_an_experiment_it_follows_from_the_training() -> None:
    spec = resolved({
        "model": {"width": 16, "heads": 2, "depth": 2},
        "data": {"resolution": 16, "frames": 4, "interval": 2, "picking": "linspace", "autoencoder": "pixels"},
        "sampling": {"clips": 9},
    })  # fmt: skip
    found = spec.scoring
    assert (found.frames, found.picking, found.real_interval, found.fake_interval) == (4, "linspace", 2, 1)
    assert (found.fake_clips, found.resolution, found.transform) == (9, 16, spec.data.transform)
    assert (found.kernel, found.antialias) == ("bilinear", spec.data.antialias)


@pytest.mark.parametrize(
    ("written", "key", "told"),
    [
        ({"protocol": "claen"}, "protocol", "did you mean 'clean'?"),
        ({"protocol": 3}, "protocol", "is not a choice"),
        ({"frmaes": 16}, "frmaes", "did you mean 'frames'?"),
        ({"metrics": ["fvd", "kdv"]}, "metrics.1", "did you mean 'kvd'"),
        ({"metrics": ["fvd", {"name": "kvd", "subset": 3}]}, "metrics.1.subset", "did you mean 'subsets'"),
        ({"metrics": ["fvd", "fvd"]}, "metrics.1", "metric 'fvd' is there twice"),
        ({"metrics": []}, "metrics", "name at least one metric"),
        ({"detector": "random_rd3"}, "detector", "did you mean 'random_r3d'"),
        ({"kernel": "lanzcos"}, "kernel", "did you mean 'lanczos'?"),
        ({"real_storage": ("jpg",)}, "real_storage.0", "did you mean 'jpeg' or 'png'?"),
        ({"real_clips": 0}, "real_clips", "greater than 0"),
        ({"jpeg_quality": 101}, "jpeg_quality", "less than or equal to 100"),
        ({"h264_crf": 52}, "h264_crf", "less than or equal to 51"),
        ({"antialias": False}, "antialias", "always antialiases"),  # of lanczos, the kernel between folders
    ],
)
def test_what_is_wrong_is_told_with_the_nearest_word(written: dict[str, Any], key: str, told: str) -> None:
    problems = refused(**written)
    assert [found for found, _ in problems] == [key]
    assert told in problems[0][1]


def test_everything_wrong_is_told_at_once() -> None:
    assert {key for key, _ in refused(frames=0, kernel="x", detector="y", metrics=["z"])} == {
        "frames", "kernel", "detector", "metrics.0",
    }  # fmt: skip


def test_metrics_keep_their_order_and_parameters() -> None:
    found = of(metrics=[{"name": "kvd", "subsets": 3}, "fvd"])
    assert [metric.name for metric in found.metrics] == ["kvd", "fvd"]
    assert found.metrics[0].parameters == {"subsets": 3, "subset_size": 1000}
    assert [metric.name for metric in of(metrics="kvd").metrics] == ["kvd"]
