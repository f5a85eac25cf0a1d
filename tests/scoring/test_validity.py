"""What each detector that works offline must see, and what it is known to be blind to; docs/validity.md in small."""

from functools import cache
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from components.scoring.corruptions import CORRUPTIONS
from experiments import validity
from experiments.validity import ClipSet, Row, build, folder_clips, made_clips, suite
from experiments.validity_page import HEADER, write_section
from registry.catalogue import catalogue
from registry.errors import RunError, SpecError
from tests.data_room.made_videos import gradient_frames, write_video

STRENGTHS = (0.0, 0.5, 1.0)
NEEDS_MORE_THAN_THE_REPOSITORY = {"i3d", "videomae", "vjepa"}
OFFLINE = ("moving_shapes_r3d", "random_r3d")

# With all four directions alike often, a reversed clip is a proper clip of the opposite class: nothing is to be seen.
# The control hardly tells the directions apart, which the trained one does.
BLIND = {("moving_shapes_r3d", "reversed"), ("random_r3d", "reversed"), ("random_r3d", "class_imbalance")}


@cache
def rows(detector):
    data = made_clips(144, 8, 32)
    return {row.corruption: row for row in suite(build(detector), data, frames=8, seeds=(0, 1), strengths=STRENGTHS)}


def cases():
    for detector in OFFLINE:
        for corruption in CORRUPTIONS:
            blind = (detector, corruption) in BLIND
            marks = [pytest.mark.xfail(strict=True, reason="a known blind spot")] if blind else []
            yield pytest.param(detector, corruption, marks=marks, id=f"{detector}-{corruption}")


def test_every_detector_is_tried_or_needs_something_more():
    assert {*OFFLINE, *NEEDS_MORE_THAN_THE_REPOSITORY} == set(catalogue().names("detector"))


@pytest.mark.parametrize(("detector", "corruption"), cases())
def test_the_score_rises_with_what_is_wrong(detector, corruption):
    assert rows(detector)[corruption].verdict == "rises"


def test_it_sees_time_run_backwards_where_that_is_to_be_seen():
    made = made_clips(256, 8, 32)
    one = [k for k, label in enumerate(made.labels) if label == "moves_up"]
    alone = ClipSet("moves_up", made.clips[one], ("moves_up",) * len(one))
    (found,) = suite(
        build("moving_shapes_r3d"), alone, frames=8, seeds=(0, 1), corruptions=("reversed",), strengths=STRENGTHS
    )
    assert found.verdict == "rises"


def row(*scores):
    return Row("noise", {k / (len(scores) - 1): values for k, values in enumerate(scores)})


@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        (row((1.0, 1.1), (2.0, 2.1), (3.0, 3.1)), "rises"),
        (row((1.0, 1.1), (0.9, 1.0), (3.0, 3.1)), "in the end"),
        (row((1.0, 1.1), (5.0, 5.1), (1.0, 1.1)), "blind"),
        (row((1.0, 1.1), (1.05, 1.1), (1.05, 3.0)), "blind"),  # one seed does not see it
        (row((1.0, 2.0), (2.0, 2.5), (2.5, 3.0)), "blind"),  # within the spread of unspoiled clips
        (row((1.0,), (2.0,)), "rises"),
    ],
)
def test_the_verdict(made, verdict):
    assert made.verdict == verdict


def test_the_suite_needs_a_few_clips():
    with pytest.raises(RunError, match="3 clips are too few"):
        suite(build("random_r3d"), made_clips(3, 4, 16), frames=4, seeds=(0,))


def test_a_detector_that_sees_nothing_is_called_blind():
    class Blind:
        drawn = torch.Generator().manual_seed(0)

        def features(self, videos):
            return torch.randn(len(videos), 2, generator=self.drawn)

    found = suite(Blind(), made_clips(32, 4, 16), frames=4, seeds=(0, 1), corruptions=("noise", "blur"))
    assert [row.verdict for row in found] == ["blind", "blind"]


def test_clips_of_a_folder_are_labelled_by_it_and_share_no_frame(tmp_path, capsys):
    for name in ("walk", "run"):
        (tmp_path / name).mkdir()
        write_video(tmp_path / name / "a.mp4", gradient_frames(33))
    write_video(tmp_path / "run" / "short.mp4", gradient_frames(7))
    (tmp_path / "run" / "broken.mp4").write_bytes(b"no video")
    found = folder_clips(tmp_path, 8, 16, 100)
    assert found.clips.shape == (6, 16, 16, 16, 3)
    assert found.labels == ("run",) * 3 + ("walk",) * 3
    assert "left out" in capsys.readouterr().err
    assert len(folder_clips(tmp_path, 8, 16, 4).clips) == 4
    with pytest.raises(RunError, match="no video of at least 100 frames"):
        folder_clips(tmp_path, 50, 16, 100)
    with pytest.raises(SpecError, match="there is no folder"):
        folder_clips(tmp_path / "gone", 8, 16, 100)


@pytest.mark.parametrize("setting", ["seed", "sed=1", "seed=-1", "seed=x"])
def test_a_setting_that_makes_no_sense(setting):
    with pytest.raises(SpecError, match="--set"):
        build("random_r3d", [setting])


def test_the_command_writes_a_section_and_replaces_it(tmp_path, monkeypatch):
    monkeypatch.setattr(validity, "made_clips", lambda *given: ClipSet("made", *_few()))
    page = tmp_path / "docs" / "validity.md"
    given = ["--detector", "random_r3d", "--set", "width=2", "--frames", "4", "--seeds", "1", "--out", str(page)]
    for control in ([], ["--control", "random_r3d"]):
        told = CliRunner().invoke(validity.main, [*given, *control], catch_exceptions=False)
        assert told.exit_code == 0, told.output
    text = page.read_text()
    assert text.startswith(HEADER.rstrip("\n"))
    assert text.count("\n## random_r3d width=2 on made\n") == 1
    assert all(f"\n| {corruption} | " in text for corruption in CORRUPTIONS)
    assert "random_r3d: greatest / 0" in text
    told = CliRunner().invoke(validity.main, ["--detector", "random_r3", "--out", str(page)])
    assert told.exit_code == 1
    assert "random_r3d" in told.output


def _few():
    made = made_clips(48, 4, 16)
    return made.clips, made.labels


def test_other_sections_stay(tmp_path):
    page = tmp_path / "page.md"
    for title, text in (("a on x", "one"), ("b on x", "two"), ("a on x", "three")):
        write_section(page, title, text)
    assert page.read_text() == HEADER.rstrip("\n") + "\n\n## a on x\n\nthree\n\n## b on x\n\ntwo\n"


@pytest.mark.parametrize("detector", OFFLINE)
def test_the_page_in_the_docs_is_of_the_detector_as_it_is(detector):
    page = (Path(__file__).parents[2] / "docs" / "validity.md").read_text(encoding="utf-8")
    sections = [section for section in page.split("\n## ") if section.startswith(f"{detector} on ")]
    assert {section.split("\n")[0] for section in sections} >= {f"{detector} on moving_shapes"}
    for section in sections:
        assert build(detector).fingerprint()[:16] in section
