"""An experiment's `tune` -> the candidates of each arm: short trainings that try values, and the arm with these values.

All candidates of an arm together take the share `budget` of the steps of one of its trainings. A short training is the
arm with fewer steps: its learning-rate schedule ends with it, and parameters of the schedule that count steps shrink
likewise, as does the step from which gradients are clipped. Nothing is sampled for a score; the validation loss is
compared.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry.experiment.arm import Arm
from registry.experiment.expand import key_problems
from registry.experiment.experiment_file import AXES, BASELINE, ExperimentFile, dotted, merge
from registry.experiment.resolve import Problem, resolve
from registry.parts.catalogue import Catalogue
from registry.schema.labels import label_of
from registry.schema.spec import Spec
from registry.schema.tune import Tune
from registry.schema.values import overlap

SECTION = "learning"
# Of `learning`: what a short training has other than the long one, or what is learned from.
FIXED = ("steps", "initialisation", "ema_decay", "joint_images", "label_drop")
HELD = 0.1  # where the average holds a larger share of the initial weights, the weights themselves are compared
FEWEST = 2  # clips that an evaluation samples at least, though nothing is measured of them
CLIP_NORM = "learning.clip_norm"
OF_STEPS = "_steps"  # how the names of an lr_schedule's parameters end that count optimiser steps


@dataclass(frozen=True)
class TuningCandidate:
    """A value, or a combination of values, that an arm may be given.

    Args:
        owner: the arm's name.
        values: by key of the spec.
        run: the short training that tries them, an arm of the tuning.
        raw: whether weights themselves are compared, since their average would still hold the initial ones.
        spec: the arm's, with the values.
    """

    owner: str
    values: Mapping[str, Any]
    run: Arm
    raw: bool
    spec: Spec


def tune_problems(file: ExperimentFile) -> list[str]:
    """Return a line for everything in the experiment's `tune` that is wrong, whatever its arms are."""
    experiment, tune = file.experiment, file.experiment.tune
    if tune is None:
        return []
    place = file.place(("tune",))
    lines = [f"{place}: tune.{key}: {text}" for key in tune.values for text in _key_problems(file, key)]
    if experiment.search is not None:
        lines.append(f"{place}: tune: does not go with a search, whose trials have values of their own; take one out")
    if shared := sorted(set(tune.seeds) & set(experiment.all_seeds)):
        told = ", ".join(map(str, shared))
        lines.append(f"{place}: tune.seeds: {told} is among the seeds that count; give tune.seeds others")
    return lines


def _key_problems(file: ExperimentFile, key: str) -> Iterator[str]:
    """Say why a key cannot be tuned."""
    if wrong := key_problems(key, file):
        yield from wrong
        return
    at = tuple(key.split("."))
    if at[0] != SECTION or at[1] in FIXED:
        yield f"only keys of {SECTION} are tuned, and none of {', '.join(FIXED)}: short trainings must be comparable"
    axes = [axis for section in AXES for axis in getattr(file.experiment, section)]
    axes += [axis for changes in file.experiment.arms.values() for axis in changes]
    for axis in dict.fromkeys(axis for axis in axes if overlap(tuple(axis.split(".")), at)):
        yield f"arms differ in {axis}, which cannot be tuned as well; take it out here or there"


def tuning_candidates(file: ExperimentFile, arms: Sequence[Arm]) -> tuple[list[TuningCandidate], list[str]]:
    """Return the candidates of every arm, in the order of the file, and a line for each problem.

    Args:
        file: an experiment whose `tune` is sound (`tune_problems`).
        arms: all of its arms.
    """
    tune = file.experiment.tune
    assert tune is not None, "called for experiments that have one"
    found: list[TuningCandidate] = []
    lines: dict[str, None] = {}
    place = file.place(("tune",))
    for arm in arms:
        steps, points = steps_each(tune, arm.spec), list(_points(tune))
        if steps < 1:
            told = f"budget: {tune.budget:g} of {arm.spec.learning.steps} steps is less than a step for each of"
            lines[f"{place}: tune.{told} {len(points) * len(tune.seeds)} trainings of arm {arm.name}"] = None
            continue
        own: list[TuningCandidate] = []
        for values in points:
            candidate, wrong = _candidate(arm, values, steps, file.parts)
            lines |= dict.fromkeys(f"{place}: tune: arm {arm.name}: {text}" for text in wrong)
            own += [candidate] if candidate is not None else []
        lines |= dict.fromkeys(f"{place}: tune: arm {arm.name}: {text}" for text in _undecided(own))
        found += own
    return found, list(lines)


def _undecided(candidates: Sequence[TuningCandidate]) -> Iterator[str]:
    """Say which candidates of an arm are the same short training, so that nothing decides between them."""
    first: dict[str, TuningCandidate] = {}
    for one in candidates:
        short, whole = one.run.spec, one.spec.learning
        unclipped = short.learning.clip_norm is None or short.learning.clip_from >= short.learning.steps
        if unclipped:  # then the norm, and from where, are all one
            plain = short.learning.model_copy(update={"clip_norm": None, "clip_from": 0})
            short = short.model_copy(update={"learning": plain})
        other = first.setdefault(short.training, one)
        if other is not one:
            both, steps = f"{_shown(other.values)} and {_shown(one.values)}", short.learning.steps
            yield f"{both} make the same training of {steps} steps; raise tune.budget, or take one out"
        if CLIP_NORM in one.values and whole.clip_norm is not None and unclipped:
            yield (
                f"{CLIP_NORM}: short trainings never clip gradients, since learning.clip_from is {whole.clip_from} of "
                f"{whole.steps} steps; lower it"
            )


def _shown(values: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={label_of(value)}" for key, value in values.items())


def steps_each(tune: Tune, spec: Spec) -> int:
    """Return the steps of each short training of an arm; 0 where the budget is less than a step for each."""
    trainings = math.prod(len(values) for values in tune.values.values()) * len(tune.seeds)
    return int(tune.budget * spec.learning.steps / trainings + 1e-9)


def _points(tune: Tune) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*tune.values.values()):
        yield dict(zip(tune.values, values, strict=True))


def _candidate(
    arm: Arm, values: Mapping[str, Any], steps: int, parts: Catalogue
) -> tuple[TuningCandidate | None, list[str]]:
    """One candidate of an arm, None where its values are wrong; and what is."""
    tuned = arm.spec.model_dump()
    for key, value in values.items():
        merge(tuned, tuple(key.split(".")), value)
    spec, problems = resolve(tuned, parts)
    if spec is None:
        return None, _told(problems)
    raw = spec.learning.ema_decay**steps > HELD
    run, problems = resolve(_short(spec, steps, raw), parts)
    if run is None:
        return None, _told(problems)
    labels = {key.removeprefix(f"{SECTION}."): label_of(value) for key, value in values.items()}
    tried = ",".join(f"{axis}={label}" for axis, label in labels.items())
    name = tried if arm.name == BASELINE else f"{arm.name},{tried}"
    return TuningCandidate(arm.name, values, Arm(name, {**arm.axes, **labels}, run), raw, spec), []


def _told(problems: Sequence[Problem]) -> list[str]:
    return [f"{dotted(key)}: {text}" for key, text in problems]


def _short(spec: Spec, steps: int, raw: bool) -> dict[str, Any]:
    """The sections of a short training: nothing but its validation loss is looked at."""
    sections = spec.model_dump()
    sections |= {"sampling": {"clips": FEWEST}, "scoring": {"metrics": ()}}
    learning = sections[SECTION]
    schedule = learning["lr_schedule"]
    for name in (name for name in schedule if name.endswith(OF_STEPS)):
        schedule[name] = max(1, round(schedule[name] * steps / spec.learning.steps))
    learning["clip_from"] = min(steps, round(learning["clip_from"] * steps / spec.learning.steps))
    learning["steps"] = steps
    if raw:
        learning["ema_decay"] = 0.0  # the average of the weights is then the weights themselves
    return sections
