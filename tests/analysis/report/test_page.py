"""The page of a report: one file, everything that a report says, and nothing that a file could smuggle in."""

import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.figures.arm_figures import curves_figure
from analysis.figures.effects import effects_figure
from analysis.figures.inline_svg import inline_svg
from analysis.figures.report_figures import Results
from analysis.report import page_videos
from analysis.report.page import PageData, report_page
from analysis.report.page_videos import videos_of
from analysis.results.results_frame import load
from analysis.verdicts import judging
from components.data.video.writer import write_mp4
from registry.errors import RunError
from registry.runs.records import PreparedData
from registry.runs.resolved_experiment import ResolvedArm, ResolvedExperiment
from tests.fixtures.replicates import claim, equivalent, floor, replicates

NOT_CLOSED = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """What stands in a page: its elements with their attributes, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in NOT_CLOSED:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words += f" {' '.join(data.split())}"

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


SCORES = {"a": [1.0, 2.0, 3.1], "b": [4.0, 2.5, 7.0]}
FLOORS = [floor([0.4, 0.5])]


def about(**more: Any) -> ResolvedExperiment:
    arm = ResolvedArm(identity="0123456789", parameters=731_568, macs={"evaluated": 59_255_808})
    known = {"experiment": "made-up", "digest": "abc", "arms": {"a": arm, "b": arm}, "seeds": (0, 1, 2)}
    return ResolvedExperiment(**{**known, **more})


def page_of(folder: Path, resolved: ResolvedExperiment, scores: Any = None, clips: int = 0, steps: int = 0) -> str:
    """The page of made-up replicates in a folder, each with so many clips."""
    rows = replicates(SCORES if scores is None else scores)
    for row in rows:
        place = folder / "_trainings" / f"{row['arm']}-t" / f"seed-{row['seed']}" / "evaluations" / "e"
        (place / "previews").mkdir(parents=True)
        row["folder"] = str(place)
        for number in range(clips):
            frames = np.full((4, 32, 32, 3), 60 * row["seed"], dtype=np.uint8)
            write_mp4(place / "previews" / f"clip-{number:03d}.mp4", frames, 8)
        (place / "spec.yaml").write_text("model: {classes: 2}\n")
    frame = load(rows)
    answers = judging.judge(frame, [claim(), equivalent()], floors=FLOORS)
    by_step = dict.fromkeys(range(steps), frame)
    return report_page(PageData(resolved, Results(frame, FLOORS, answers, by_step)))


def test_the_page_says_what_a_report_has_to_say(tmp_path: Path) -> None:
    words = "variant_1 is best; variant_4 is worst."
    page = Page(page_of(tmp_path, about(about="Which is best?", head={"Paper": words}), clips=1, steps=2))
    for text in (
        "Which is best?", "What the paper says:", words, "a better than b", "undecided", "731.6 K", "59.26 M",
        "What is undecided, and what it would take", "more seeds of 2 arms", "fvd against training steps", "protocol p",
        "clip 0, class 0 of 2",
    ):  # fmt: skip
        assert text in page.words, text
    names = [one["aria-label"] for one in page.all("svg")]
    assert names == ["Effects that the claims are about", "fvd by arm", "fvd against training steps"]
    assert page.open == []


@pytest.mark.parametrize("captions", [["a red circle", "a blue square"], []], ids=["captions", "classes"])
def test_a_clip_is_named_by_what_it_was_asked_to_show(tmp_path: Path, captions: list[str]) -> None:
    shown = captions or ["walk", "wave"]
    assert titles(tmp_path, 2, captions) == [f"clip {n}, class {n % 2} of 2: {shown[n % 2]}" for n in range(3)]


@pytest.mark.parametrize(
    ("classes", "shown"),
    [
        (0, ["clip 0", "clip 1", "clip 2"]),
        (1, [f"clip {n}, class 0 of 1: walk" for n in range(3)]),
        (3, ["clip 0, class 0 of 3: walk", "clip 1, class 1 of 3: wave", "clip 2, class 2 of 3"]),
    ],
)
def test_a_clip_has_no_name_of_a_class_that_it_was_not_asked_to_show(
    tmp_path: Path, classes: int, shown: list[str]
) -> None:
    assert titles(tmp_path, classes, []) == shown


def titles(tmp_path: Path, classes: int, captions: list[str]) -> list[str]:
    """The titles of three clips of a network of so many classes, whose data have the classes walk and wave."""
    rows = replicates({"a": [1.0]})
    training = tmp_path / "_trainings" / "t" / "seed-0"
    folder = training / "evaluations" / "e"
    for place in (folder / "previews", folder / "samples", tmp_path / "data"):
        place.mkdir(parents=True)
    (folder / "training").symlink_to("../..")
    (folder / "spec.yaml").write_text(f"model: {{classes: {classes}}}\n")
    (folder / "samples" / "captions.json").write_text(json.dumps(captions))
    for number in range(3):
        (folder / "previews" / f"clip-{number:03d}.mp4").write_bytes(b"video")
    data = PreparedData(digest="d", folder=str(tmp_path / "data"), videos=2, autoencoder="x")
    (training / "prepared.json").write_text(data.model_dump_json())
    (tmp_path / "data" / "manifest.json").write_text(json.dumps({"classes": ["walk", "wave"]}))
    return [row.title for row in videos_of(load([rows[0] | {"folder": str(folder)}])).rows]


def test_it_is_one_file_that_asks_nobody_for_anything(tmp_path: Path) -> None:
    text = page_of(tmp_path, about(), clips=1)
    page = Page(text)
    for tag, attributes in page.elements:
        for key in ("src", "href", "srcset", "poster", "data", "action"):
            value = attributes.get(key) or "#"
            assert value.startswith(("#", "data:video/mp4;base64,")), (tag, key, value[:60])
    assert not re.findall(r"@import|url\((?!#)", text)
    (policy,) = (one["content"] for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_nothing_that_stands_in_a_file_is_taken_for_markup(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)> \" ' & -->"
    scores = {"a": [1.0, 2.0], evil.replace("/", "|"): [3.0, 5.0], "b": [3.0, 4.0]}
    resolved = about(about=evil, head={"Paper": evil, "Reading": evil}, file=evil, overrides=(evil,))
    page = Page(page_of(tmp_path, resolved, scores, clips=1))
    assert page.words.count("<script>alert(1)") >= 5
    assert len(page.all("script")) == 1
    assert not page.all("img")


def test_videos_without_a_script_stand_still_and_have_controls(tmp_path: Path) -> None:
    videos = Page(page_of(tmp_path, about(), clips=1)).all("video")
    assert len(videos) == 2
    for one in videos:
        assert {"controls", "muted", "loop", "playsinline"} <= one.keys()
        assert "autoplay" not in one
        assert re.fullmatch(r"Sampled video: [ab], seed 0, clip 0, class 0 of 2", one["aria-label"] or "")


def test_a_page_is_bounded_and_says_what_is_left_out(tmp_path: Path) -> None:
    page_of(tmp_path, about(), clips=6)
    rows = replicates(SCORES)
    for row in rows:
        row["folder"] = str(tmp_path / "_trainings" / f"{row['arm']}-t" / f"seed-{row['seed']}" / "evaluations" / "e")
    frame = load(rows)
    shown = videos_of(frame)
    assert [len(row.videos) for row in shown.rows] == [2] * page_videos.MOST_ROWS
    assert "2 of 6 clips of each arm" in shown.notes[0]
    size = sum(path.stat().st_size for path in Path(frame["folder"][0]).glob("previews/*.mp4")) / 6
    fewer = videos_of(frame, most_bytes=int(4.5 * size))
    assert len(fewer.rows) == 2
    assert "since videos may fill" in fewer.notes[0]
    assert str(Path(frame["folder"][0]) / "previews") in fewer.notes[0]


def test_a_seed_that_most_arms_have_is_shown_and_who_lacks_it_is_named(tmp_path: Path) -> None:
    page_of(tmp_path, about(), {"a": [1.0, None], "b": [None, 2.0], "c": [None, 3.0]}, clips=1)
    rows = replicates({"a": [1.0, None], "b": [None, 2.0], "c": [None, 3.0]})
    for row in rows:
        row["folder"] = str(tmp_path / "_trainings" / f"{row['arm']}-t" / f"seed-{row['seed']}" / "evaluations" / "e")
    found = videos_of(load(rows))
    assert (found.seed, [one.arm for one in found.rows[0].videos]) == (1, ["b", "c"])
    assert found.notes[0] == "No video of seed 1 yet: a."


def test_without_a_result_there_is_a_page_all_the_same(tmp_path: Path) -> None:
    page = Page(page_of(tmp_path, about(), {"a": [None, None], "b": [None, None]}))
    for text in ("0 of 4 replicates done", "There are no sampled videos yet.", "4 of 4 replicates are not done yet"):
        assert text in page.words, text


def test_an_inlined_figure_takes_the_colours_of_the_page_and_ids_of_its_own() -> None:
    lines = {("$a_b", 0): [{"step": step, "loss": 1.0 + step} for step in range(3)]}
    one, two = (inline_svg(curves_figure(lines, "loss"), "a <curve>", name) for name in ("one", "two"))
    root = ElementTree.fromstring(one)
    assert (root.tag, root.get("role"), root.get("aria-label")) == ("svg", "img", "a <curve>")
    assert "#000000" not in one
    assert "var(--line)" in one
    ids = [set(re.findall(r'\bid="([^"]+)"', text)) for text in (one, two)]
    assert ids[0]
    assert not ids[0] & ids[1]
    for text, own in zip((one, two), ids, strict=True):
        assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', text)) <= own
    assert "<!--" not in one
    assert "metadata" not in one


def test_the_effects_are_drawn_with_intervals_floors_and_margins() -> None:
    frame = load(replicates(SCORES))
    answers = judging.judge(frame, [claim(), equivalent()], floors=FLOORS)
    figure = effects_figure(answers)
    order, equivalence = figure.axes
    drawn = [np.asarray(line.get_xdata(), dtype=float).tolist() for line in order.lines]
    assert list(answers[0].interval or ()) in drawn
    assert [answers[0].effect] in drawn
    band = order.collections[0].get_paths()[0].vertices[:, 0]
    assert (band.min(), band.max()) == (pytest.approx(-0.45), pytest.approx(0.45))  # the mean of the floor's draws
    assert [-1.0, 1.0] in [np.asarray(line.get_xdata(), dtype=float).tolist() for line in equivalence.lines]
    with pytest.raises(RunError, match="no claim has an effect"):
        effects_figure([])


def test_a_long_curve_is_drawn_with_its_last_step() -> None:
    lines = {("a", 0): [{"step": step, "loss": float(step)} for step in range(10_001)]}
    (axes,) = curves_figure(lines, "loss").axes
    steps = axes.lines[0].get_xdata()
    assert len(steps) <= 500
    assert steps[-1] == 10_000
