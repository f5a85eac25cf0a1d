"""What is wrong with `search` and `screen` against the spec, told before anything is run."""

from collections.abc import Iterator, Sequence
from typing import Any

from registry.errors import did_you_mean
from registry.experiment.claims import scores_of
from registry.experiment.comparable import unshared
from registry.experiment.expand import key_problems, trial_draft
from registry.experiment.experiment_file import ExperimentFile, dotted
from registry.experiment.resolve import UNTOLD, resolve, validate
from registry.schema.search import COUNTED, Search
from registry.schema.spec import Spec


def search_problems(file: ExperimentFile, baseline: Spec | None) -> list[str]:
    """A line for everything in the experiment's search that is wrong.

    Values that are wrong only together are no mistake of the file: such a trial fails.

    Args:
        file: the experiment as read.
        baseline: its resolved base, None if that is not valid.
    """
    search = file.experiment.search
    if search is None:
        return []
    lines = []
    if file.experiment.match is not None and len(file.experiment.match.ways) > 1:
        several = "trials are matched in one way; give match one of parameters and macs, or search without it"
        lines.append(f"{file.place(('match',))}: match: {several}")
    names = scores_of(file.experiment.base, file.parts)
    for number, objective in enumerate(search.objective):
        if objective.direction is None and names.get(objective.metric, ("", "min"))[1] is None:
            place = file.place(("search", "objective", str(number)))
            lines.append(f"{place}: search.objective: {objective.metric} is best at neither end; give its direction")
        if names and objective.metric not in names and objective.metric not in COUNTED:
            place = file.place(("search", "objective", str(number)))
            hint = did_you_mean(objective.metric, [*names, *COUNTED])
            lines.append(f"{place}: search.objective: no objective {objective.metric!r}; {hint}")
    for key in search.space:
        place = f"{file.place(('search', 'space', key))}: search.space.{key}"
        own = key_problems(key, file) or list(_value_problems(file, key, search, baseline))
        lines += [f"{place}: {text}" for text in dict.fromkeys(own)]
    if baseline is not None and search.pruning is not None:
        every, steps = baseline.runtime.validate_every, baseline.learning.steps
        place = f"{file.place(('search', 'pruning'))}: search.pruning"
        if every >= steps:
            lines.append(f"{place}: no trial can be pruned: runtime.validate_every is {every} of {steps} steps")
        if search.pruning.first is not None and search.pruning.first % every:
            lines.append(f"{place}.first: expected a multiple of runtime.validate_every, which is {every}")
    return lines


def _value_problems(file: ExperimentFile, key: str, search: Search, baseline: Spec | None) -> Iterator[str]:
    """What is wrong with a key's values, each tried by itself on the base."""
    known = set(validate(_raw(file, {}), file.parts)[1])
    for value in search.space[key].edges:
        raw = _raw(file, {key: value})
        wrong = [problem for problem in validate(raw, file.parts)[1] if problem not in known]
        for at, text in wrong:
            if text == UNTOLD:
                continue
            yield text if dotted(at) == key else f"{dotted(at)}: {text}"
        if wrong or baseline is None:
            continue
        spec, _ = resolve(raw, file.parts)
        if spec is None:
            continue  # it does not go with the base, and may go with other values of the space
        metrics = [objective.metric for objective in search.objective if objective.metric not in COUNTED]
        metrics += [search.pruning.metric] if search.pruning is not None else []
        for metric in metrics:
            if keys := unshared(metric, baseline, spec):
                yield f"{metric} of trials that differ in {', '.join(keys)} cannot be compared"


def _raw(file: ExperimentFile, values: dict[str, Any]) -> dict[str, Any]:
    return {**trial_draft(file, "trial", values).raw, "plugins": file.experiment.plugins}


def screen_problems(file: ExperimentFile, arms: Sequence[tuple[str, Spec]]) -> list[str]:
    """A line for everything in the experiment's screen that is wrong, whatever its score is (`rung_arms` says that).

    Args:
        file: the experiment as read.
        arms: name and spec of each arm that is right, the baseline first.
    """
    screen = file.experiment.screen
    if screen is None or not arms:
        return []
    lines = []
    if file.experiment.evaluate_at is not None:
        lines.append(
            f"{file.place(('evaluate_at',))}: evaluate_at: does not go with a screen, which lets arms pause at its "
            "rungs; take one of the two out"
        )
    baseline, every = arms[0], arms[0][1].runtime.validate_every
    steps = min(spec.learning.steps for _, spec in arms)
    for number, rung in enumerate(screen.rungs):
        place = f"{file.place(('screen', 'rungs', str(number)))}: screen.rungs: {rung}"
        if rung % every and not screen.by_score:
            lines.append(f"{place} is no multiple of runtime.validate_every, which is {every}: there is no loss to see")
        if rung >= steps and not screen.by_score:
            lines.append(f"{place} is not before the end of training (learning.steps is {steps})")
        if rung > steps and screen.by_score:
            lines.append(f"{place} is behind the end of training (learning.steps is {steps})")
    for name, spec in arms[1:] if not screen.by_score else ():
        if keys := unshared(screen.metric, baseline[1], spec):
            both = f"{screen.metric} of arms {baseline[0]} and {name}"
            lines.append(
                f"{file.place(('screen',))}: screen: {both} cannot be compared: they differ in {', '.join(keys)}"
            )
    return lines
