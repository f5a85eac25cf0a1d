"""The figures of a report: which there are, and how each is drawn at a width; for pictures, pages and papers alike."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.figures.arm_figures import ShownFigure, curves_figure, scores_figure
from analysis.figures.effects import effects_figure
from analysis.figures.shown_arms import ShownArms, shown_arms, shown_in_all
from analysis.results.floors import Floors
from analysis.results.results_frame import done, score_names, shown_scores
from analysis.verdicts.verdict import Verdict
from registry.experiment.claims import VALIDATION_LOSS, Direction, direction_of
from registry.runs.stored import read_metrics


@dataclass(frozen=True)
class Results:
    """What a report says.

    Args:
        frame: all replicates, as `analysis.results.results_frame.load` gives them.
        floors: the records of the experiment's floors.json.
        answers: to all its claims.
        by_step: step -> the evaluations at that step, in the same form; empty where trainings are evaluated once.
        directions: score -> which way it is better.
    """

    frame: pd.DataFrame
    floors: Floors = ()
    answers: Sequence[Verdict] = ()
    by_step: Mapping[int, pd.DataFrame] = field(default_factory=dict)
    directions: Mapping[str, Direction] = field(default_factory=dict)

    @cached_property
    def scores(self) -> list[str]:
        """The scores that are shown: all but those of single noise bands."""
        return shown_scores(self.frame)

    @cached_property
    def shown(self) -> ShownArms:
        """The arms of what shows no score."""
        return shown_in_all(self.frame, self.scores, self.directions)

    @cached_property
    def shown_frame(self) -> pd.DataFrame:
        """The replicates of these arms."""
        return self.frame[self.frame["arm"].isin(self.shown.names)]

    @cached_property
    def logged(self) -> dict[tuple[str, int], list[dict[str, Any]]]:
        """(arm, seed) of these replicates -> what its training logged; read once for all figures."""
        own = self.shown_frame
        read = {(arm, int(seed)): read_metrics(Path(folder).parent.parent)
                for arm, seed, folder in zip(own["arm"], own["seed"], own["folder"], strict=True)}  # fmt: skip
        places = {arm: place for place, arm in enumerate(self.shown.names)}
        return dict(sorted(read.items(), key=lambda item: places[item[0][0]]))


@dataclass(frozen=True)
class Drawing:
    """A figure that may be drawn.

    Args:
        kind: effects, scores, steps (a score against training steps) or curves (what was logged).
        name: of its file, without a suffix.
        title: what it shows.
        draw: at a width in inches, or as wide as it needs; raises RunError where it cannot be drawn yet.
    """

    kind: str
    name: str
    title: str
    draw: Callable[..., ShownFigure]


def drawings(results: Results) -> Iterator[Drawing]:
    """Yield the figures of a report: effects, scores by arm, scores against steps, and learning curves."""
    yield Drawing("effects", "effects", "Effects that the claims are about", partial(effects_figure, results.answers))
    for metric in results.scores:
        direction = direction_of(metric, results.directions)
        draw = partial(scores_figure, results.frame, metric, floors=results.floors, direction=direction)
        shown = shown_arms(results.frame, metric, direction)
        yield Drawing("scores", plain_name(metric), _noted(f"{metric} by arm", shown), draw)
    yield from _by_step(results)
    for key in ("loss", "validation_loss"):
        draw = partial(curves_figure, results.logged, key, log=True, note=results.shown.note)
        title = f"{key.replace('_', ' ').capitalize()} during training"
        yield Drawing("curves", f"curve-{key}", _noted(title, results.shown), draw)


def _by_step(results: Results) -> Iterator[Drawing]:
    """Each score against the training steps: a curve with a band for each arm, as the paper's figures show FVD."""
    for metric in dict.fromkeys(name for frame in results.by_step.values() for name in score_names(frame)):
        if metric == VALIDATION_LOSS or "_band_" in metric:
            continue  # the loss curves have it
        shown = shown_arms(results.frame, metric, direction_of(metric, results.directions))
        lines: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for step, frame in results.by_step.items():
            ended = done(frame)
            if metric in ended:
                for arm, seed, value in zip(ended["arm"], ended["seed"], ended[metric], strict=True):
                    lines.setdefault((arm, int(seed)), []).append({"step": step, metric: value})
        drawn = lines if not shown.note else {key: own for key, own in lines.items() if key[0] in shown.names}
        draw = partial(curves_figure, drawn, metric, note=shown.note)
        yield Drawing("steps", f"curve-{plain_name(metric)}", _noted(f"{metric} against training steps", shown), draw)


def _noted(title: str, shown: ShownArms) -> str:
    """A title with the note, which a screen reader does not find in the picture."""
    return f"{title}: {shown.note}" if shown.note else title


def plain_name(name: str) -> str:
    """Return a name as files have it."""
    return re.sub(r"[^A-Za-z0-9=._-]+", "-", name).strip("-")


def samples_files(arms: Iterable[str]) -> dict[str, str]:
    """Return arm -> the file of its samples, one for each arm.

    Of arms whose plain names are the same, such as `shift=+5` and `shift=-5`, each that is not plain itself has a
    digest of its name behind it.

    Args:
        arms: all of the experiment; an arm may come several times.
    """
    plain = {arm: plain_name(arm) for arm in arms}
    sharing = Counter(plain.values())
    return {
        arm: f"samples-{name}.png"
        if name == arm or sharing[name] == 1
        else f"samples-{name}-{hashlib.sha256(arm.encode()).hexdigest()[:8]}.png"
        for arm, name in plain.items()
    }
