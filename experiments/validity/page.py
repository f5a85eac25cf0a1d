"""The page that shows what each detector sees and what it is blind to: one section for each detector and data."""

import platform
import shlex
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import torch

HEADER = """# What each detector sees

A score is worth what its detector sees. Here real clips are cut in two halves at random; one stays as it is, the other
is spoiled at rising strength, and the Fréchet distance between the two is measured, every clip alone, as in `score`. A
detector that sees the corruption gives a distance that rises. Sections are written by `python -m experiments.validity
suite`, one for each detector and data; running a command again replaces its sections.

No video is on both sides, and where the folder has a `groups.csv` (columns `path` and `group`: videos of one person, a
video and its mirror image) no group is. Groups are whole, so such halves are not exact ones. The distance at strength 0
is then that of other people, and what is to be seen must rise above it.

How to read a row: the mean over the seeds at each strength (at 0 with the standard deviation), then the greatest
strength as a multiple of strength 0, then the verdict. *rises*: at every strength above the last, and at the greatest
every seed above all seeds at 0 and the mean more than 3 standard deviations above. *in the end*: only the latter.
**blind**: not even that.

Strengths (`components/scoring/corruptions.py`): noise of 60 grey levels times strength; a blur of 1/16 of the frame
times strength; that part of the frames shuffled or frozen; up to as many frames dropped as are kept; brightness less
by 0.8 times strength; that part of the clips reversed; all clips of one class at 1, with the size of the smallest
class; n^(1 - strength) different clips. Where classes are balanced in direction, as in moving_shapes with its four,
a reversed clip is a proper clip of another class: no detector can see it there, and none should. (Of one direction
alone, moving_shapes_r3d does see it; a test shows that.)

Values of different detectors, data and numbers of clips cannot be compared with each other; shapes of rows can.

`i3d`, `transnet_v2` and `efficientnet_lite0` need their published weights, which are not in the repository. With them:
`python run.py fetch-weights i3d` and `python -m experiments.validity suite --detector i3d --out docs/validity.md`.
"""


class Scored(Protocol):
    """A row of the suite; see `experiments.validity.Row`."""

    @property
    def corruption(self) -> str: ...
    @property
    def scores(self) -> dict[float, tuple[float, ...]]: ...
    @property
    def verdict(self) -> str: ...
    def mean(self, strength: float) -> float: ...


@dataclass(frozen=True)
class Section:
    """What was measured.

    `counts` are of clips, videos and groups; `size` is frames and side; `halves` are for each seed the numbers of clips
    of the reference and of the spoiled half.
    """

    detector: str
    settings: tuple[str, ...]
    fingerprint: str
    data: str
    counts: tuple[int, int, int]
    size: tuple[int, int]
    halves: tuple[tuple[int, int], ...]
    control: str = ""

    @property
    def title(self) -> str:
        return f"{' '.join((self.detector, *self.settings))} on {self.data}"

    def text(self, rows: Sequence[Scored], beside: Sequence[Scored] = ()) -> str:
        """The section in Markdown; `beside` are the rows of the control, in the same order."""
        strengths = sorted(rows[0].scores)
        head = ["corruption", *(f"{strength:g}" for strength in strengths), "greatest / 0", "verdict"]
        head += [f"{self.control}: greatest / 0", "verdict"] if beside else []
        lines = [
            f"| {' | '.join(head)} |",
            f"| --- |{' ---: |' * (len(strengths) + 1)} --- |{' ---: | --- |' * bool(beside)}",
        ]
        for number, row in enumerate(rows):
            unspoiled = row.scores[strengths[0]]
            spread = f" ± {statistics.stdev(unspoiled):.2g}" if len(unspoiled) > 1 else ""
            cells = [row.corruption, f"{row.mean(strengths[0]):.3g}{spread}"]
            cells += [f"{row.mean(strength):.3g}" for strength in strengths[1:]]
            cells += _multiple_and_verdict(row)
            cells += _multiple_and_verdict(beside[number]) if beside else []
            lines.append(f"| {' | '.join(cells)} |")
        blind = [row.corruption for row in rows if row.verdict == "blind"]
        weak = [row.corruption for row in rows if row.verdict == "in the end"]
        said = f"Blind to: {', '.join(blind) or 'none of these'}."
        said += f" Sees only in the end: {', '.join(weak)}." if weak else ""
        return "\n".join(
            [
                self._measured(),
                "",
                *lines,
                "",
                said,
                "",
                f"Detector {self.fingerprint[:16]}…; {machine_and_date()}.",
                f"Command: `{command()}`",
            ]
        )

    def _measured(self) -> str:
        clips, videos, groups = self.counts
        frames, side = self.size
        of = f"{videos} videos" + (f" in {groups} groups" if groups != videos else "")
        shared = "group" if groups != videos else "video"
        counts = ", ".join(f"{first} and {second}" for first, second in self.halves)
        return (
            f"{clips} clips of {frames} frames of {side}x{side} from {of}. Halves share no {shared}; clips of the "
            f"reference and of the spoiled half, by seed: {counts}."
        )


def write_section(page: Path, title: str, text: str) -> None:
    """Put the section into the page, in place of the one of that title if there is one, under the header as it is."""
    whole = page.read_text(encoding="utf-8") if page.exists() else HEADER
    _, *sections = whole.rstrip("\n").split("\n## ")
    by_title = {section.split("\n", 1)[0]: section for section in sections}
    by_title[title] = f"{title}\n\n{text}\n"
    page.parent.mkdir(parents=True, exist_ok=True)
    parts = [HEADER.rstrip("\n") + "\n", *(section.rstrip("\n") + "\n" for section in by_title.values())]
    page.write_text("\n## ".join(parts), encoding="utf-8")


def _multiple_and_verdict(row: Scored) -> list[str]:
    strengths = sorted(row.scores)
    multiple = row.mean(strengths[-1]) / row.mean(strengths[0])
    return [f"{multiple:.3g}", "**blind**" if row.verdict == "blind" else row.verdict]


def machine_and_date() -> str:
    """Where and when something was measured, for a reader."""
    machine = f"{platform.machine()} CPU, one thread, Python {platform.python_version()}, torch {torch.__version__}"
    return f"{machine}; {datetime.now(UTC):%Y-%m-%d}"


def command() -> str:
    """The command that runs, folders of data and of work by their names alone."""
    folders = ("--data", "--work")
    given = [
        Path(word).name if before in folders else word for before, word in zip(sys.argv, sys.argv[1:], strict=False)
    ]
    return shlex.join(["python", "-m", "experiments.validity", *given])
