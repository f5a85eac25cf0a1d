"""What `score` says of videos that are as they should be, and of spoiled copies of them, as a section of the docs.

    python -m experiments.validity copies --data DIR --part first --corruption blur --strength 0.5 --out COPIES
    python run.py score COPIES --against DIR --protocol demo

A copy is a whole video, uint8 (F, H, W, 3), in a .npy file of its own, so that `score` knows which clips are of one
video. `scores` runs all these commands, and writes what came out.
"""

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from components.data.video.readers import open_reader
from components.scoring.corruptions import OF_CLIPS, Clips, spoil
from experiments.validity.clips import GROUPS_FILE, column_of, digest_of, folder_videos, groups_of, halves
from experiments.validity.page import command, machine_and_date, write_section
from registry.errors import RunError, SpecError
from registry.runs.machine import ROOT

PARTS = ("all", "first", "second", "train", "test")
SPLIT_FILE = "split.csv"
TRIED = ("blur", "frame_shuffle", "frozen_frames")
STRENGTHS = (0.5, 1.0)
HALVINGS = (0, 1, 2)
RUN = ROOT / "run.py"


def write_copies(data: Path, part: str, seed: int, corruption: str, strength: float, out: Path) -> int:
    """Copies of the videos of a part of a folder, spoiled; returns how many.

    Args:
        data: folder of videos.
        part: one of `PARTS`: all, one of two halves that share no group, or a split of its split.csv.
        seed: of the halving and of the corruption.
        corruption: one of `OF_CLIPS`; empty leaves the videos as they are.
        strength: from 0 to 1.
        out: a new folder.

    Raises:
        SpecError: no such folder, or tables in it that do not name every video; `out` is there already.
        RunError: no video, or a single group.
    """
    if out.exists():
        raise SpecError(f"--out: {out} is there already")
    videos = folder_videos(data)
    names = [path.relative_to(data).as_posix() for path, _ in videos]
    if not videos:
        raise RunError(f"{data}: no videos in it")
    if part in ("train", "test"):
        splits = column_of(data / SPLIT_FILE, "split", names)
        chosen = [place for place, split in enumerate(splits) if split == part]
    elif part == "all":
        chosen = list(range(len(names)))
    else:
        chosen = halves(groups_of(data, names), seed)[part == "second"]
    out.mkdir(parents=True)
    for place in chosen:
        path, index = videos[place]
        frames = open_reader(path, index).frames(range(index.frames))
        own = f"{place:05d}-{names[place].replace('/', '-')}.npy"  # the number, for names that end up the same
        np.save(out / own, _spoiled(frames, corruption, strength, [seed, place]))
    return len(chosen)


def _spoiled(video: Clips, corruption: str, strength: float, seeds: Sequence[int]) -> Clips:
    if not corruption:
        return video
    frames = len(video) // 2 if corruption == "dropped_frames" else len(video)
    own = int(np.random.default_rng(seeds).integers(2**31))
    return spoil(corruption, video[None], strength, own, frames=frames)[0]


@dataclass(frozen=True)
class Copies:
    """What `copies` is to make: the values of its options."""

    part: str
    seed: int = 0
    corruption: str = ""
    strength: float = 0.0

    @property
    def folder(self) -> str:
        spoiled = f"-{self.corruption}-{self.strength:g}" if self.corruption else ""
        return f"{self.part}{f'-{self.seed}' if self.part in ('first', 'second') else ''}{spoiled}"

    @property
    def about(self) -> str:
        """For a table."""
        half = {"first": f"half {self.seed}a", "second": f"half {self.seed}b"}
        return half.get(self.part, self.part) + (f", {self.corruption} {self.strength:g}" if self.corruption else "")


def pairs() -> list[tuple[Copies, Copies]]:
    """Samples and reference of each score: other people first, then what is wrong, seen beside others and the same."""
    found = [(Copies("test"), Copies("train"))]
    found += [(Copies("first", seed), Copies("second", seed)) for seed in HALVINGS]
    spoiled = [Copies("first", 0, name, strength) for name in TRIED for strength in STRENGTHS]
    return found + [(copy, Copies(other)) for other in ("second", "first") for copy in spoiled]


def measure(data: Path, work: Path, overrides: Sequence[str]) -> list[tuple[Copies, Copies, dict[str, Any]]]:
    """The content of scores.json for each pair; copies are made where they are not there yet.

    Args:
        data: folder of videos.
        work: for copies of these videos and of no others, as `work_folder` gives it.
        overrides: of the protocol.

    Raises:
        RunError: `score` failed.
    """
    found = []
    for samples, against in pairs():
        for each in (samples, against):
            if not (work / each.folder).exists():
                part = work / "making"
                shutil.rmtree(part, ignore_errors=True)
                write_copies(data, each.part, each.seed, each.corruption, each.strength, part)
                part.rename(work / each.folder)
        words = ["score", str(work / samples.folder), "--against", str(work / against.folder), "--protocol", "demo"]
        words += [*overrides, "--device", "cpu", "--processes", "1", "--runs", str(work / "runs"), "--format", "json"]
        done = subprocess.run([sys.executable, str(RUN), *words], capture_output=True, text=True)
        if done.returncode:
            raise RunError(f"{shlex.join(['python', 'run.py', *words])}\n{done.stderr.strip()[-2000:]}")
        click.echo(f"scored {samples.about} against {against.about}", err=True)
        found.append((samples, against, json.loads(done.stdout)))
    return found


def work_folder(work: Path, data: Path) -> Path:
    """Return the folder for copies of the videos as they are now: videos or tables that change get another one."""
    return work / f"{data.resolve().name}-{digest_of(data, (SPLIT_FILE, GROUPS_FILE))[:12]}"


def section(data: str, found: Sequence[tuple[Copies, Copies, dict[str, Any]]], overrides: Sequence[str]) -> str:
    """The section in Markdown: one table for each metric."""
    first = found[0][2]
    lines = [
        f"Real videos through `python run.py score SAMPLES --against REFERENCE --protocol demo{_after(overrides)}`. "
        f"The test split is held against the training split, halves a and b of {data} against each other (three "
        "halvings, 0 to 2; where there is a groups.csv they share no group), and spoiled copies of half 0a against "
        "half 0b and against the videos that they were made of.",
        "",
        "Interval: 95 % over the draw of videos; it does not know of groups, whose videos are not independent. Floor: "
        "`real_halves`, real clips of the reference against each other, brought to the score's counts; `score` splits "
        "them by video and not by group, so this floor is too low for other people: hold spoiled copies against half "
        "0b against the row of half 0a as it is. With the videos that copies were made of as the reference there are "
        "no other people in a score. Values in rows of different protocols cannot be compared; the reference and the "
        "counts are part of a protocol. Where a metric has no row, there are too few clips for it.",
    ]
    for metric in dict.fromkeys(row["metric"] for _, _, content in found for row in content["scores"]):
        head = ("samples", "reference", "value", "interval", "floor", "clips", "protocol")
        lines += [
            "",
            f"### `{metric}`",
            "",
            f"| {' | '.join(head)} |",
            "| --- | --- | ---: | ---: | ---: | --- | --- |",
        ]
        for samples, against, content in found:
            for row in content["scores"]:
                if row["metric"] == metric:
                    lines.append(f"| {samples.about} | {against.about} | {_cells(row)} |")
    extractors = {spec["extractor"]["name"]: spec["extractor"] for spec in first["protocol_specs"].values()}
    about = "; ".join(f"{name} {extractor['fingerprint'][:16]}…" for name, extractor in extractors.items())
    example = found[-1][0]
    return "\n".join(
        [
            *lines,
            "",
            f"Detector {about}; {machine_and_date()}.",
            f"Command for all of it: `{command()}`. One row of it by hand:",
            "",
            "```",
            f"python -m experiments.validity copies --data {data} --part second --out second-0",
            f"python -m experiments.validity copies --data {data} --part first --corruption {example.corruption} "
            f"--strength {example.strength:g} --out {example.folder}",
            f"python run.py score {example.folder} --against second-0 --protocol demo{_after(overrides)}",
            "```",
            "",
            "With the published weights (`python run.py fetch-weights i3d`):",
            f"`python -m experiments.validity scores --data {data} --out docs/validity.md detector=i3d`",
        ]
    )


def _cells(row: dict[str, Any]) -> str:
    low_high = f"{row['interval'][0]:.3g} to {row['interval'][1]:.3g}" if row["interval"] else "none"
    floor = row["floors"].get("real_halves")
    beside = f"{floor['mean']:.3g}" if floor else "none"
    cells = [f"{row['value']:.3g}", low_high, beside, f"{row['n_fake']} and {row['n_real']}", f"`{row['protocol']}`"]
    return " | ".join(cells)


def _after(overrides: Sequence[str]) -> str:
    return f" {shlex.join(overrides)}" if overrides else ""


DATA = click.option("--data", type=click.Path(path_type=Path), required=True, help="folder of videos")


@click.command()
@DATA
@click.option("--part", type=click.Choice(PARTS), default="all", show_default=True, help="halves share no group")
@click.option("--seed", default=0, show_default=True, help="of the halves and of the corruption")
@click.option("--corruption", type=click.Choice(list(OF_CLIPS)), help="left out: the videos as they are")
@click.option("--strength", type=click.FloatRange(0, 1), default=1.0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="a new folder of .npy files")
def copies(data: Path, part: str, seed: int, corruption: str | None, strength: float, out: Path) -> None:
    """Write copies of videos, spoiled at a strength, in the form that `score` reads."""
    try:
        count = write_copies(data, part, seed, corruption or "", strength, out)
    except (SpecError, RunError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"wrote {count} videos to {out}")


@click.command()
@DATA
@click.option("--work", type=click.Path(path_type=Path), default=Path("runs/_validity"), show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="the page whose section is written; else it is printed")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
def scores(data: Path, work: Path, out: Path | None, overrides: tuple[str, ...]) -> None:
    """Score real videos and spoiled copies of them, and write the table; KEY=VALUE changes the protocol."""
    name = data.resolve().name
    title = f"{name} through `score`{_after(overrides)}"
    try:
        text = section(name, measure(data, work_folder(work, data), overrides), overrides)
    except (SpecError, RunError) as error:
        raise click.ClickException(str(error)) from None
    if out is None:
        click.echo(f"## {title}\n\n{text}")
    else:
        write_section(out, title, text)
        click.echo(f"wrote the section '{title}' of {out}")
