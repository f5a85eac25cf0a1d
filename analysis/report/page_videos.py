"""Sampled videos of every arm side by side, as far as a page has room: the same seed, clip and class in each row."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.figures.pictures import CONTACT_SHEET
from analysis.figures.sample_videos import clips_of, data_uri
from analysis.results.results_frame import done
from registry import strict_yaml
from registry.errors import SpecError
from registry.runs.places import PREPARED
from registry.runs.records import DamagedError, PreparedData, read_record

MOST_BYTES = 8 * 2**20  # of all videos of a page, as files; base64 makes four bytes of three
MOST_ROWS = 4


@dataclass(frozen=True)
class Video:
    """One sampled clip.

    Args:
        arm: that sampled it.
        source: the mp4 file as a data URI; empty where there is no such clip.
        label: what is to be seen, for a screen reader.
    """

    arm: str
    source: str
    label: str


@dataclass(frozen=True)
class VideoRow:
    """One clip of every arm.

    Args:
        title: the clip, and its class.
        videos: one an arm, in the order of the arms.
    """

    title: str
    videos: Sequence[Video]


@dataclass(frozen=True)
class Videos:
    """The videos of a page.

    Args:
        seed: that they are of; None where there are none.
        rows: one a clip.
        notes: what is left out, and where it lies.
    """

    seed: int | None
    rows: Sequence[VideoRow]
    notes: Sequence[str]


def videos_of(frame: pd.DataFrame, most_bytes: int = MOST_BYTES, shown: str = "") -> Videos:
    """Return the videos of the seed that most arms have, the first clips first, whole rows only.

    Args:
        frame: the replicates, as `analysis.results.results_frame.load` gives them.
        most_bytes: of all files together.
        shown: which arms these are, where there are more.
    """
    seed, by_arm = _of_one_seed(frame)
    if seed is None:
        return Videos(None, (), ("There are no sampled videos yet.",))
    clips = {arm: {path.stem: path for path in clips_of(folder)} for arm, folder in by_arm.items()}
    names = sorted({name for own in clips.values() for name in own})
    first = next(iter(by_arm.values()))
    classes = _classes(first)
    named = _named(first, classes)
    rows: list[VideoRow] = []
    room = most_bytes
    for name in names[:MOST_ROWS]:
        files = {arm: own[name] for arm, own in clips.items() if name in own}
        room -= sum(path.stat().st_size for path in files.values())
        if room < 0:
            break
        title = _title(name, classes, named)
        rows.append(VideoRow(title, [_video(arm, files.get(arm), title, seed) for arm in by_arm]))
    missing = [arm for arm in dict.fromkeys(map(str, frame["arm"])) if arm not in by_arm]
    notes = [f"{shown[0].upper()}{shown[1:]}."] if shown else []
    notes += [f"No video of seed {seed} yet: {', '.join(missing)}."] if missing else []
    if len(rows) < len(names):
        why = "" if room >= 0 else f", since videos may fill {most_bytes / 2**20:.2g} MB of this page"
        lies = first / CONTACT_SHEET.parent
        notes.append(
            f"Left out{why}: {len(names) - len(rows)} of {len(names)} clips of each arm, and other seeds. Those of the "
            f"first arm lie in {lies}."
        )
    return Videos(seed, rows, notes)


def _of_one_seed(frame: pd.DataFrame) -> tuple[int | None, dict[str, Path]]:
    """The seed that most arms have videos of, and the folder of each of these arms; the lowest of several seeds."""
    ended = done(frame)
    folders: dict[int, dict[str, Path]] = {}
    for arm, seed, folder in zip(ended["arm"], ended["seed"], ended["folder"], strict=True):
        if clips_of(Path(folder)):
            folders.setdefault(int(seed), {})[str(arm)] = Path(folder)
    if not folders:
        return None, {}
    seed = max(folders, key=lambda one: (len(folders[one]), -one))
    return seed, folders[seed]


def _classes(folder: Path) -> int:
    """The classes of an evaluation's network, 0 where it has none; 0 too where its stored spec cannot be read."""
    try:
        value = strict_yaml.load(folder / "spec.yaml").value
    except SpecError:
        return 0
    model = value.get("model") if isinstance(value, dict) else None
    classes = model.get("classes") if isinstance(model, dict) else None
    return classes if isinstance(classes, int) else 0


def _named(folder: Path, classes: int) -> list[str]:
    """What clips of an evaluation were asked to show, in turn: captions, else names of classes; empty if of neither."""
    captions = _listed(folder / "samples" / "captions.json", None)
    if any(captions) or not classes:
        return captions
    try:
        prepared = read_record((folder / "training").resolve() / PREPARED, PreparedData)
    except DamagedError:
        return []
    names = _listed(Path(prepared.folder) / "manifest.json", "classes")[:classes] if prepared is not None else []
    return [*names, *[""] * (classes - len(names))]


def _listed(path: Path, key: str | None) -> list[str]:
    """The texts of a list in a JSON file, or of one below a key; empty where it cannot be read."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return []
    found = content.get(key) if isinstance(content, dict) else content
    return [str(one) for one in found] if isinstance(found, list) else []


def _title(name: str, classes: int, named: Sequence[str]) -> str:
    """`clip 3, class 1 of 2: right`: sampled clip n is of class n modulo the number of classes, counted from 0."""
    digits = name.removeprefix("clip-")
    if not digits.isdigit():
        return name
    number = int(digits)
    title = f"clip {number}" + (f", class {number % classes} of {classes}" if classes else "")
    return f"{title}: {named[number % len(named)]}" if named and named[number % len(named)] else title


def _video(arm: str, path: Path | None, title: str, seed: int) -> Video:
    return Video(arm, "" if path is None else data_uri(path), f"Sampled video: {arm}, seed {seed}, {title}")
