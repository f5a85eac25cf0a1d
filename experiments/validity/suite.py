"""Does a detector see what is wrong? The Fréchet distance of spoiled clips at rising strength, as a page of the docs.

Commands: python -m experiments.validity suite --detector moving_shapes_r3d --control random_r3d --out docs/validity.md
          (--data DIR tries it on videos of yours; folders in it are the classes, see `experiments.validity.clips`)
          python -m experiments.validity scores --data DIR --out docs/validity.md
          python -m experiments.validity copies --data DIR --corruption blur --strength 0.5 --out COPIES
          (the other two: see `experiments.validity.scores`)
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
import yaml

from components.scoring.contracts import Extractor, Features
from components.scoring.corruptions import CORRUPTIONS, OF_SETS, Clips, middle, picked, spoil
from components.scoring.features.extraction import features_of
from components.scoring.metrics.frechet import Moments, frechet_distance
from components.scoring.refusals import one_thread
from experiments.validity.clips import ClipSet, folder_clips, halves, made_clips
from experiments.validity.page import Section, write_section
from experiments.validity.scores import copies, scores
from registry.errors import RunError, SpecError
from registry.parts.catalogue import catalogue

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)

Progress = Callable[[str, int, int], None]


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


@one_thread()
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

    Every clip is measured alone, as `score` does.

    Args:
        detector: the extractor that is tried.
        data: clips of at least 2 `frames` frames; each seed halves them anew, by groups.
        frames: clip length.
        seeds: of the halving and of the corruptions.
        corruptions: which ones.
        strengths: rising, the first of them 0.
        progress: called with what is done, the number done and the total.

    Raises:
        RunError: fewer than 4 clips, a single group, or features that are not finite.
    """
    if len(data.clips) < 4:
        raise RunError(
            f"{data.name}: {len(data.clips)} clips are too few to try a detector with; at least 4 are needed"
        )
    found: dict[str, dict[float, list[float]]] = {name: {s: [] for s in strengths} for name in corruptions}
    done, total = 0, len(seeds) * len(corruptions)
    as_they_are = _features(detector, middle(data.clips, frames))
    for seed in seeds:
        first, second = halves(data.groups, seed)
        reference = Moments.of(as_they_are, first)
        tried, labels = data.clips[second], [data.labels[k] for k in second]
        whole = as_they_are.subset(second)
        for name in corruptions:
            for strength in strengths:
                if name in OF_SETS:
                    moments = Moments.of(whole, picked(name, len(tried), strength, seed, labels=labels))
                elif strength == 0:
                    moments = Moments.of(whole)
                else:
                    moments = Moments.of(_features(detector, spoil(name, tried, strength, seed, frames=frames)))
                found[name][strength].append(frechet_distance(reference, moments))
            done += 1
            progress(f"{name}, seed {seed}", done, total)
    return [Row(name, {s: tuple(values) for s, values in by_strength.items()}) for name, by_strength in found.items()]


def _features(detector: Extractor, clips: Clips) -> Features:
    return Features(np.stack([features_of(detector, clip) for clip in clips]))


# --- the commands -----------------------------------------------------------------------------------------------------


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


@click.group(help=__doc__)
def main() -> None:
    pass


main.add_command(copies)
main.add_command(scores)


@main.command("suite")
@click.option("--detector", required=True, help="name of the detector")
@click.option("--set", "settings", multiple=True, help="a parameter of the detector, key=value")
@click.option("--control", default="", help="a second detector: its verdicts stand beside, and it gets its own section")
@click.option("--data", type=click.Path(path_type=Path), help="folder of videos instead of the embedded data set")
@click.option("--clips", default=512, show_default=True, help="at most so many, about half of them the reference")
@click.option("--frames", default=16, show_default=True)
@click.option("--resolution", default=64, show_default=True)
@click.option("--seeds", default=3, show_default=True, help="how many")
@click.option(
    "--corruption", "corruptions", multiple=True, type=click.Choice(CORRUPTIONS), help="one to try; all if left out"
)
@click.option("--out", type=click.Path(path_type=Path), help="the page whose sections are written; else printed")
def suite_command(
    detector: str,
    settings: tuple[str, ...],
    control: str,
    data: Path | None,
    clips: int,
    frames: int,
    resolution: int,
    seeds: int,
    corruptions: tuple[str, ...],
    out: Path | None,
) -> None:
    """Spoil one half of real clips at rising strength and measure how far it gets from the other."""
    torch.set_num_threads(1)
    chosen = corruptions or CORRUPTIONS
    tried = partial(suite, frames=frames, seeds=range(seeds), corruptions=chosen, progress=_tell)
    try:
        built = build(detector, settings)
        beside = build(control) if control else None
        given = folder_clips(data, frames, resolution, clips) if data else made_clips(clips, frames, resolution)
        rows = tried(built, given)
        of_control = tried(beside, given) if beside else []
        counts = [(len(first), len(second)) for first, second in (halves(given.groups, s) for s in range(seeds))]
    except (SpecError, RunError) as error:
        raise click.ClickException(str(error)) from None
    about = Section(
        detector=detector,
        settings=settings,
        fingerprint=built.fingerprint(),
        data=given.name,
        counts=(len(given.clips), len(set(given.videos)), len(set(given.groups))),
        size=(frames, resolution),
        halves=tuple(counts),
        control=control,
    )
    sections = [(about.title, about.text(rows, of_control))]
    if beside:
        own = replace(about, detector=control, settings=(), fingerprint=beside.fingerprint(), control="")
        sections.append((own.title, own.text(of_control)))
    for title, text in sections:
        if out is None:
            click.echo(f"## {title}\n\n{text}")
        else:
            write_section(out, title, text)
            click.echo(f"wrote the section '{title}' of {out}")


def _tell(what: str, done: int, total: int) -> None:
    click.echo(f"{done}/{total}  {what}", err=True)


if __name__ == "__main__":
    main()
