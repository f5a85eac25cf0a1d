"""Protocols by name, in files and in what was measured; and where two differ."""

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.scores.protocols import diff, load_protocol, show
from registry.errors import SpecError
from registry.schema.protocol import PRESETS, describe, fingerprint
from tests.cli.command import run

CLEAN_AGAINST_LATTE = {
    "noted.preset": ("clean", "latte_compatible"),
    "real.interval": (1, 3),
    "real.storage": ([], ["jpeg"]),
    "fake.start": ("uniform", "first"),
    "fake.short_videos": ("drop", "refuse"),
    "fake.storage": ([], ["h264", "jpeg"]),
    "clips.shortest": ("fits", "whole_intervals"),
    "pixels.resolution": (None, 256),
    "storage.jpeg": (None, "quality 75, 4:2:0"),
    "storage.h264": (None, "crf 5, 4:2:0"),
}


def refused(name: str, *overrides: str) -> list[str]:
    with pytest.raises(SpecError) as told:
        load_protocol(name, overrides)
    return list(told.value.problems)


def measured(folder: Path, name: str = "scores.json", **changes: Any) -> Path:
    """A file with the protocols of two scores, as `score` and runs write it."""
    protocol = load_protocol("clean").model_dump(mode="json")
    found: dict[str, Any] = {"protocol": protocol, "protocols": {}, "protocol_specs": {}}
    for metric, estimator in (("fvd[random_r3d]", "frechet"), ("kvd[random_r3d]", "mmd2")):
        bound = {**describe(load_protocol("clean")), **changes, "estimator": {"distance": estimator}}
        found["protocols"][metric] = fingerprint(bound)
        found["protocol_specs"][fingerprint(bound)] = bound
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(json.dumps(found), encoding="utf-8")
    return path


# ---------------------------------------------------------------- loading


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_protocols(name: str) -> None:
    found = load_protocol(name)
    assert found.protocol == name
    for key in ("frames", "picking", "real_interval", "fake_clips", "transform", "kernel", "antialias"):
        assert getattr(found, key) is not None


def test_overrides_change_single_keys() -> None:
    words = ["frames=8", "real_storage=[png, jpeg]", "detector=random_r3d", "detector.width=2", "metrics=[kvd]"]
    found = load_protocol("demo", words)
    assert (found.frames, found.real_storage) == (8, ("png", "jpeg"))
    assert (found.detector.name, found.detector.parameters) == ("random_r3d", {"seed": 0, "width": 2})
    assert [metric.name for metric in found.metrics] == ["kvd"]
    assert found.real_clips == 256
    assert load_protocol("demo").frames == 16  # the preset itself is as before


def test_a_parameter_of_the_presets_part_can_be_given() -> None:
    with pytest.raises(SpecError, match=r"latte_compatible: detector\.width: unknown key"):
        load_protocol("latte_compatible", ["detector.width=2"])
    path = load_protocol("latte_compatible", ["detector.weights=elsewhere.pt"]).detector
    assert (path.name, path.parameters["weights"]) == ("i3d", "elsewhere.pt")


def test_yaml_files_are_protocols(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("protocol: latte_compatible\nreal_interval: 6  # Taichi\nmetrics: [fvd, {name: kvd, subsets: 2}]\n")
    found = load_protocol(str(path), ["frames=8"])
    assert (found.real_interval, found.frames, found.kernel) == (6, 8, "lanczos")
    assert [metric.name for metric in found.metrics] == ["fvd", "kvd"]
    assert {key for key, *_ in diff("latte_compatible", str(path))} == {"real.interval", "metrics.kvd"}


def test_measured_scores_lend_their_protocol(tmp_path: Path) -> None:
    path = measured(tmp_path)
    assert load_protocol(str(path)) == load_protocol(str(tmp_path)) == load_protocol("clean")
    assert load_protocol(str(path), ["frames=4"]).frames == 4


@pytest.mark.parametrize(
    ("name", "overrides", "told"),
    [
        (
            "claen",
            (),
            "no protocol 'claen' (a preset, a YAML file, scores.json, or a run); did you mean 'clean'?",
        ),
        ("nowhere.yaml", (), "nowhere.yaml: no such file"),
        ("clean", ("frmaes=8",), "frmaes=8: unknown key 'frmaes'; did you mean 'frames'?"),
        ("clean", ("detctor.width=8",), "did you mean 'detector'?"),
        ("clean", ("frames",), "frames: write key=value, such as frames=16 or detector=i3d"),
        ("clean", ("=3",), "=3: write key=value"),
        ("clean", ("metrics=[fdv]",), "clean: metrics.0: no metric 'fdv': did you mean 'fvd'"),
        ("clean", ("detector=random_r3",), "clean: detector: no detector 'random_r3': did you mean 'random_r3d'"),
        ("clean", ("frames=0",), "clean: frames: expected greater than 0"),
        ("clean", ("frames=many",), "clean: frames: expected a valid integer"),
        ("clean", ("frames=[1",), "command line: frames: not valid YAML"),
        ("clean", ("antialias=false",), "clean: antialias: the lanczos kernel is Pillow's"),
    ],
)
def test_what_is_wrong_is_told_with_the_nearest_word(name: str, overrides: tuple[str, ...], told: str) -> None:
    (line,) = refused(name, *overrides)
    assert told in line


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("protocol: claen\nfrmaes: 3\nmetrics: [fdv]\n")
    lines = refused(str(path), "kernel=x", "nokey=1")
    for told in ("'clean'", "'frames'", "'fvd'", "kernel", "nokey"):
        assert any(told in line for line in lines), (told, lines)
    (path).write_text("- clean\n")
    assert refused(str(path)) == [f"{path}:1: a protocol is a mapping such as `protocol: clean`"]


# ---------------------------------------------------------------- showing and comparing


def test_show_has_every_key_of_a_preset() -> None:
    (found,) = show("latte_compatible").values()
    assert found["real"] == {
        "clips": 2048, "interval": 3, "start": "uniform", "short_videos": "drop", "storage": ["jpeg"],
    }  # fmt: skip
    assert found["detector"]["name"] == "i3d"
    assert list(found["metrics"]) == ["fvd"]
    assert set(found) == {"measuring", "real", "fake", "clips", "pixels", "storage", "noted", "detector", "metrics"}
    assert show("clean", ["real_interval=4"])["protocol"]["real"]["interval"] == 4


def test_diff_has_exactly_the_keys_that_differ() -> None:
    rows = {key: (left, right) for key, left, right in diff("clean", "latte_compatible")}
    assert {key: rows[key] for key in rows if key.split(".")[0] not in ("detector", "metrics")} == CLEAN_AGAINST_LATTE
    assert rows["detector.name"] == ("moving_shapes_r3d", "i3d")
    assert "metrics.kvd" in rows
    turned = {key: (right, left) for key, left, right in diff("latte_compatible", "clean")}
    assert turned == rows
    for name in PRESETS:
        assert diff(name, name) == []


@pytest.mark.parametrize("file", ["scores.json", "result.json"])
def test_measured_protocols_are_shown_by_score(tmp_path: Path, file: str) -> None:
    path = measured(tmp_path, file)
    for name in (path, tmp_path):
        found = show(str(name))
        assert list(found) == ["fvd[random_r3d]", "kvd[random_r3d]"]
        assert found["kvd[random_r3d]"]["estimator"] == {"distance": "mmd2"}
        marks = json.loads(path.read_text())["protocols"]
        assert {score: bound["fingerprint"] for score, bound in found.items()} == marks


def test_measured_protocols_differ_score_by_score(tmp_path: Path) -> None:
    one = measured(tmp_path / "one")
    other = measured(tmp_path / "other", pixels={"resolution": "64x64"})
    rows = diff(str(one), str(other.parent))
    assert {key for key, *_ in rows} == {
        f"{score}: pixels.{key}"
        for score in ("fvd[random_r3d]", "kvd[random_r3d]")
        for key in ("resolution", "transform", "kernel", "antialias")
    }
    assert diff(str(one), str(one)) == []


def test_a_preset_beside_a_score_differs_in_what_both_say(tmp_path: Path) -> None:
    path = measured(tmp_path)
    assert diff("clean", str(path)) == []
    rows = {key: (left, right) for key, left, right in diff(str(path), "latte_compatible")}
    assert rows == CLEAN_AGAINST_LATTE


def test_scores_of_older_versions_are_told(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"protocol": "abc"}')
    with pytest.raises(SpecError, match="holds no protocols; it was written by an older version"):
        show(str(tmp_path))
    with pytest.raises(SpecError, match="no protocol"):
        show(str(tmp_path / "nothing"))


# ---------------------------------------------------------------- the command line


def test_protocol_show_and_diff_as_people_call_them(tmp_path: Path) -> None:
    told = run("protocol", "diff", "clean", "latte_compatible", "--format", "json")
    assert told.code == 0, told.err
    rows = {row["key"]: (row["left"], row["right"]) for row in told.json}
    assert {key: tuple(rows[key]) for key in CLEAN_AGAINST_LATTE} == CLEAN_AGAINST_LATTE
    table = run("protocol", "show", measured(tmp_path))
    assert table.code == 0, table.err
    assert "fvd[random_r3d]" in table.out
    assert "estimator.distance" in table.out
    wrong = run("protocol", "show", "claen")
    assert (wrong.code, wrong.out) == (2, "")
    assert wrong.err == "no protocol 'claen' (a preset, a YAML file, scores.json, or a run); did you mean 'clean'?\n"
