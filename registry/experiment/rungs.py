"""An experiment's `screen` by a score -> its arms as they are sampled and scored at each rung."""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from registry.errors import did_you_mean
from registry.experiment.arm import Arm
from registry.experiment.claims import Direction, scores_of
from registry.experiment.comparable import unshared
from registry.experiment.experiment_file import ExperimentFile, dotted, merge
from registry.experiment.resolve import resolve
from registry.schema.search import Screen
from registry.schema.spec import Spec

SECTIONS = ("sampling", "scoring")  # the half of a spec that says how a training is evaluated
GIVEN = {
    "sampling.step": "screen.rungs says at which steps",
    "scoring.protocol": "name what that protocol sets, such as scoring.real_clips",
}


@dataclass(frozen=True)
class RungArm:
    """An arm as it is evaluated at a rung.

    Args:
        owner: the arm's name.
        step: of the rung.
        run: the same training at that step, sampled and scored as the screen says.
    """

    owner: str
    step: int
    run: Arm


def score_of(file: ExperimentFile, screen: Screen) -> tuple[str, Direction]:
    """Return the full name of the score that a sound screen compares arms by, and which way it is better."""
    name, direction = _scores(file, screen)[screen.metric]
    assert direction is not None, "of a sound screen"
    return name, direction


def _scores(file: ExperimentFile, screen: Screen) -> Mapping[str, tuple[str, Direction | None]]:
    raw = deepcopy(dict(file.experiment.base))
    for key, value in screen.evaluation.items():
        merge(raw, tuple(key.split(".")), value)
    return scores_of(raw, file.parts)


def rung_arms(file: ExperimentFile, arms: Sequence[Arm]) -> tuple[list[RungArm], list[str]]:
    """Return every arm at every rung of a screen by a score, in the order of the file, and a line for each problem.

    Args:
        file: the experiment.
        arms: those that are right, the baseline first.
    """
    screen = file.experiment.screen
    assert screen is not None, "called for experiments that have one"
    lines = dict.fromkeys([*_key_problems(file, screen), *_metric_problems(file, screen)])
    specs: dict[str, Spec] = {}
    for arm in [] if lines else arms:
        spec, problems = _cheaper(arm.spec, screen, file)
        lines |= dict.fromkeys(f"{_place(file)}: arm {arm.name}: {text}" for text in problems)
        specs |= {arm.name: spec} if spec is not None else {}
    first = next(iter(specs), "")
    for name, spec in specs.items():
        if keys := unshared(screen.metric, specs[first], spec):
            both = f"{screen.metric} of arms {first} and {name}"
            lines[f"{_place(file)}: {both} cannot be compared: they differ in {', '.join(keys)}"] = None
    found = [RungArm(arm.name, step, _at(arm, specs[arm.name], step))
             for step in screen.rungs for arm in arms if arm.name in specs]  # fmt: skip
    return found, list(lines)


def _place(file: ExperimentFile) -> str:
    return f"{file.place(('screen',))}: screen"


def _key_problems(file: ExperimentFile, screen: Screen) -> Iterator[str]:
    """Say which keys of `screen.evaluation` are none of an evaluation."""
    for key in screen.evaluation:
        place = f"{file.place(('screen', 'evaluation', key))}: screen.evaluation.{key}"
        section, dot, _ = key.partition(".")
        if section not in SECTIONS or not dot:
            yield f"{place}: expected a key of {' or '.join(SECTIONS)}, not of the training"
        elif key in GIVEN:
            yield f"{place}: {GIVEN[key]}"


def _metric_problems(file: ExperimentFile, screen: Screen) -> Iterator[str]:
    """Say what is wrong with the score, where its names are known."""
    names = _scores(file, screen)
    place = f"{file.place(('screen', 'metric'))}: screen.metric"
    if names.get(screen.metric, ("", "min"))[1] is None:
        yield f"{place}: {screen.metric} is best at neither end, so that no arm is the best by it"
    if names and screen.metric not in names:
        yield f"{place}: no score {screen.metric!r}; {did_you_mean(screen.metric, list(names))}"


def _cheaper(spec: Spec, screen: Screen, file: ExperimentFile) -> tuple[Spec | None, list[str]]:
    """An arm's spec as it is evaluated at a rung, None where the keys do not go with it; and what is wrong."""
    raw: dict[str, Any] = spec.model_dump()
    for key, value in screen.evaluation.items():
        merge(raw, tuple(key.split(".")), value)
    found, problems = resolve(raw, file.parts)
    return found, [f"screen.evaluation: {dotted(key)}: {text}" for key, text in problems] if found is None else []


def _at(arm: Arm, spec: Spec, step: int) -> Arm:
    """The arm at a rung."""
    sampling = spec.sampling.model_copy(update={"step": step})
    name = f"{arm.name} at step {step}"
    return Arm(name, {**arm.axes, "step": str(step)}, spec.model_copy(update={"sampling": sampling}))
