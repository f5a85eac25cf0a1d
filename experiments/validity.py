"""Does a detector see what is wrong? The Fréchet distance of spoiled clips at rising strength, as a page of the docs.

Command: python -m experiments.validity --detector moving_shapes_r3d --control random_r3d --out docs/validity.md
         (--data DIR tries it on videos of yours; folders in it are the classes)
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor

from components.data.datasets.moving_shapes import MovingShapes
from components.data.transforms import to_pixels, to_uint8_frames
from components.data.video_index import decode_all
from components.data.video_reader import VideoError, open_reader
from components.scoring.contracts import Extractor
from components.scoring.corruptions import CORRUPTIONS, OF_SETS, Clips, middle, picked, spoil
from components.scoring.frechet import Moments, frechet_distance
from experiments.validity_page import Section, write_section
from registry.catalogue import catalogue
from registry.errors import RunError, SpecError

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
CLIPS_AT_ONCE = 8
VIDEO_ENDINGS = {".mp4", ".avi", ".mkv", ".webm", ".mov"}

Progress = Callable[[str, int, int], None]
Features = NDArray[np.float32]


@dataclass(frozen=True)
class ClipSet:
    """Clips uint8 (N, 2 F, H, W, 3), of which the middle F frames count, with the class of each."""

    name: str
    clips: Clips
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """The distances of one corruption: for each strength, in rising order, one for every seed."""

    corruption: str
    scores: dict[float, tuple[float, ...]]

    def mean(self, strength: float) -> float:
        return statistics.fmean(self.scores[strength])

    @property
    def verdict(self) -> str:
        """`rises`: at every strength above the last, and clearly in the end; `in the end`: only that; or `blind`.

        Clearly means: at the greatest strength every seed is above all seeds at 0, and the mean is more than 3
        standard deviations of those at 0 above theirs.
        """
        strengths = sorted(self.scores)
        means = [self.mean(strength) for strength in strengths]
        unspoiled, worst = self.scores[strengths[0]], self.scores[strengths[-1]]
        spread = statistics.stdev(unspoiled) if len(unspoiled) > 1 else 0.0
        if min(worst) <= max(unspoiled) or means[-1] - means[0] <= 3 * spread:
            return "blind"
        rising = all(before < after for before, after in pairwise(means))
        return "rises" if rising else "in the end"


def suite(
    detector: Extractor,
    data: ClipSet,
    *,
    frames: int,
    seeds: Sequence[int],
    corruptions: Sequence[str] = CORRUPTIONS,
    strengths: Sequence[float] = STRENGTHS,
    progress: Progress = lambda what, done, total: None,
) -> list[Row]:
    """A row for every corruption: the distance of one half of the clips, spoiled, from the other half as it is.

    Args:
        detector: the extractor that is tried.
        data: clips of at least 2 `frames` frames; each seed halves them anew.
        frames: clip length.
        seeds: of the halving and of the corruptions.
        corruptions: which ones.
        strengths: rising, the first of them 0.
        progress: called with what is done, the number done and the total.

    Raises:
        RunError: fewer than 4 clips, or features that are not finite.
    """
    if len(data.clips) < 4:
        raise RunError(
            f"{data.name}: {len(data.clips)} clips are too few to try a detector with; at least 4 are needed"
        )
    scores: dict[str, dict[float, list[float]]] = {name: {s: [] for s in strengths} for name in corruptions}
    done, total = 0, len(seeds) * len(corruptions)
    for seed in seeds:
        order = np.random.default_rng([seed, len(data.clips)]).permutation(len(data.clips))
        half = len(order) // 2
        reference = _moments(_features(detector, middle(data.clips[order[:half]], frames)))
        tried, labels = data.clips[order[half:]], [data.labels[k] for k in order[half:]]
        whole = _features(detector, middle(tried, frames))
        for name in corruptions:
            for strength in strengths:
                if name in OF_SETS:
                    features = whole[picked(name, len(tried), strength, seed, labels=labels)]
                elif strength == 0:
                    features = whole
                else:
                    features = _features(detector, spoil(name, tried, strength, seed, frames=frames))
                scores[name][strength].append(frechet_distance(reference, _moments(features)))
            done += 1
            progress(f"{name}, seed {seed}", done, total)
    return [Row(name, {s: tuple(values) for s, values in by_strength.items()}) for name, by_strength in scores.items()]


def _features(detector: Extractor, clips: Clips) -> Features:
    blocks = [clips[first : first + CLIPS_AT_ONCE] for first in range(0, len(clips), CLIPS_AT_ONCE)]
    with torch.inference_mode():
        found: list[Tensor] = [detector.features(torch.from_numpy(np.ascontiguousarray(block))) for block in blocks]
    return torch.cat(found).numpy()


def _moments(features: Features) -> Moments:
    moments = Moments(features.shape[-1])
    moments.update(features)
    return moments


# --- clips ------------------------------------------------------------------------------------------------------------


def made_clips(count: int, frames: int, resolution: int, seed: int = 0) -> ClipSet:
    """Clips of the embedded data set, all four directions."""
    dataset = MovingShapes(None, resolution, videos=count, length=2 * frames, classes=4, seed=seed)
    clips, labels = [], []
    for source in dataset.sources():
        (found,) = dataset.inspect([source.path])
        assert found.index is not None
        clips.append(dataset.reader(source.path, found.index).frames(range(2 * frames)))
        labels.append(source.label)
    return ClipSet("moving_shapes", np.stack(clips), tuple(labels))


def folder_clips(folder: Path, frames: int, resolution: int, limit: int) -> ClipSet:
    """Clips of the videos below a folder, each of its own frames; the folder that a video lies in is its class.

    Args:
        folder: where the videos are; those that cannot be read are left out, and said so.
        frames: clip length.
        resolution: side in pixels that the centre square is resized to.
        limit: at most so many clips, spread evenly over all.

    Raises:
        SpecError: no such folder.
        RunError: no video in it is long enough.
    """
    if not folder.is_dir():
        raise SpecError(f"--data: there is no folder {str(folder)!r}")
    windows: list[tuple[Path, Any, int]] = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in VIDEO_ENDINGS):
        try:
            index = decode_all(path).index
        except VideoError as error:
            click.echo(f"left out: {path}: {error}", err=True)
            continue
        windows += [(path, index, first) for first in range(0, index.frames - 2 * frames + 1, frames)]
    if not windows:
        raise RunError(f"{folder}: no video of at least {2 * frames} frames in it")
    picked = [windows[k] for k in np.linspace(0, len(windows) - 1, min(limit, len(windows))).astype(int)]
    clips = [
        _square(open_reader(path, index).frames(range(first, first + 2 * frames)), resolution)
        for path, index, first in picked
    ]
    return ClipSet(folder.name, np.stack(clips), tuple(path.parent.name for path, _, _ in picked))


def _square(frames: Clips, resolution: int) -> Clips:
    return to_uint8_frames(to_pixels(frames, resolution, "center_square_then_resize", antialias=True))


# --- the command ------------------------------------------------------------------------------------------------------


def build(name: str, settings: Sequence[str] = ()) -> Any:
    """The detector of that name with `key=value` settings, checked as in a spec.

    Raises:
        SpecError: no such detector, or a setting that it does not have.
    """
    part = catalogue().find("detector", name)
    given = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or key not in part.parameters.model_fields:
            raise SpecError(
                f"--set: {setting!r} is no key=value of {name}; keys: {', '.join(part.parameters.model_fields)}"
            )
        given[key] = yaml.safe_load(value)
    try:
        parameters = part.parameters(**given)
    except ValueError as error:
        raise SpecError(f"--set: {name}: {error}") from None
    return catalogue().build("detector", {"name": name, **parameters.model_dump()})


@click.command(help=__doc__)
@click.option("--detector", required=True, help="name of the detector")
@click.option("--set", "settings", multiple=True, help="a parameter of the detector, key=value")
@click.option("--control", default="", help="a second detector whose verdicts stand beside")
@click.option("--data", type=click.Path(path_type=Path), help="folder of videos instead of the embedded data set")
@click.option("--clips", default=512, show_default=True, help="at most so many, half of them the reference")
@click.option("--frames", default=16, show_default=True)
@click.option("--resolution", default=64, show_default=True)
@click.option("--seeds", default=3, show_default=True, help="how many")
@click.option("--out", type=click.Path(path_type=Path), help="the page whose section is written; else it is printed")
def main(
    detector: str,
    settings: tuple[str, ...],
    control: str,
    data: Path | None,
    clips: int,
    frames: int,
    resolution: int,
    seeds: int,
    out: Path | None,
) -> None:
    torch.set_num_threads(1)
    try:
        built = build(detector, settings)
        given = folder_clips(data, frames, resolution, clips) if data else made_clips(clips, frames, resolution)
        rows = suite(built, given, frames=frames, seeds=range(seeds), progress=_tell)
        beside = suite(build(control), given, frames=frames, seeds=range(seeds), progress=_tell) if control else []
    except (SpecError, RunError) as error:
        raise click.ClickException(str(error)) from None
    section = Section(
        detector=detector,
        settings=settings,
        fingerprint=built.fingerprint(),
        data=given.name,
        clips=len(given.clips),
        size=(frames, resolution),
        seeds=seeds,
        control=control,
    )
    text = section.text(rows, beside)
    if out is None:
        click.echo(text)
    else:
        write_section(out, section.title, text)
        click.echo(f"wrote the section '{section.title}' of {out}")


def _tell(what: str, done: int, total: int) -> None:
    click.echo(f"{done}/{total}  {what}", err=True)


if __name__ == "__main__":
    main()
