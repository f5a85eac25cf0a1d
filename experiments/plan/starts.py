"""What comes before plans, as plans of their own: tunings, and what arms start from; and whether these networks fit."""

import functools
import glob
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from experiments.plan.loading import load_plan
from experiments.plan.plan import Plan
from experiments.plan.tuning import tuning_plan
from registry.errors import RunError, SpecError
from registry.experiment.arm import Arm
from registry.experiment.starts import Start, starts_of
from registry.paths import expanded
from registry.runs.records import State
from registry.runs.starts import start_of, trainings_by_identity
from registry.schema.spec import Spec


def with_starts(plans: Sequence[Plan]) -> list[Plan]:
    """Return the plans with those in front that come first: tunings that are not done, and what arms start from.

    A start that is among the plans is moved there.

    Raises:
        SpecError: an experiment that is a start cannot be planned.
    """
    todo, ordered = list(plans), list[Plan]()
    while todo:
        plan = todo.pop(0)
        ordered = [other for other in ordered if _place(other) != _place(plan)] + [plan]
        ordered = _moved(ordered, plan, todo)
    return ordered


def _moved(ordered: list[Plan], plan: Plan, todo: list[Plan]) -> list[Plan]:
    """Put what comes before a plan in front, and whatever comes before that in line."""
    for start in _before(plan):
        listed = [other for other in (*ordered, *todo) if _place(other) == _place(start)]
        merged = _joined(listed[0], start) if listed else start
        ordered = [merged, *(other for other in ordered if _place(other) != _place(start))]
        todo[:] = [other for other in todo if _place(other) != _place(start)]
        ordered = _moved(ordered, merged, todo)
    return ordered


def _place(plan: Plan) -> tuple[Path, str]:
    """What tells plans apart: the file, and whether it is that of the file's tuning or screen."""
    return plan.file.path.resolve(), plan.stage


def _before(plan: Plan) -> list[Plan]:
    """The plans that come before a plan: its tuning, where that is not done, and what its arms start from."""
    return [*([tuning_plan(plan)] if plan.untuned else []), *_starts(plan)]


def _starts(plan: Plan) -> list[Plan]:
    """The plans of what a plan's selected arms start from, each of those arms and seeds alone."""
    wanted: dict[tuple[Path, tuple[str, ...]], tuple[dict[str, set[int]], dict[int, None]]] = {}
    for arm in plan.selected:
        for start in starts_of(arm.spec):
            arms, seeds = wanted.setdefault((start.experiment, start.overrides), ({}, {}))
            arms.setdefault(start.arm, set()).update(() if start.step is None else (start.step,))
            seeds |= dict.fromkeys(plan.file.experiment.all_seeds if start.seed is None else (start.seed,))
    found = []
    for (path, overrides), (arms, seeds) in wanted.items():
        other = load_plan(path, overrides, plan.runs)
        selected = [arm for arm in other.arms if arm.name in arms]
        kept = {arm: frozenset(steps) for arm, steps in arms.items() if steps}
        only = _only(selected, other)
        found.append(replace(_with_seeds(other, seeds), selected=selected, only=only, start_of=plan.name, kept=kept))
    return found


def _joined(listed: Plan, start: Plan) -> Plan:
    """The plan of a file that was named and is a start as well: all that either wants.

    Raises:
        SpecError: overrides of the command change what is started from, which is what its file says.
    """
    trainings = {arm.name: arm.spec.training for arm in listed.arms}
    for arm in start.selected:
        if trainings.get(arm.name) != arm.spec.training:
            raise SpecError(
                f"{listed.file.path}: arm {arm.name}: {start.start_of} starts from it as its file has it, and "
                "overrides of this command change it; write the change into the file, or launch the file by itself"
            )
    if listed.file.experiment.until_decided is not None:
        raise SpecError(
            f"{listed.file.place(('seeds',))}: seeds: are added until claims are decided, and {start.start_of} starts "
            "from this experiment: launch it by itself first"
        )
    names = {arm.name for arm in (*listed.selected, *start.selected)}
    selected = [arm for arm in listed.arms if arm.name in names]
    seeds = dict.fromkeys([*listed.file.experiment.all_seeds, *start.file.experiment.all_seeds])
    kept = {name: listed.kept.get(name, frozenset()) | start.kept.get(name, frozenset()) for name in names}
    both = replace(_with_seeds(listed, seeds), selected=selected, start_of=start.start_of, kept=kept)
    return replace(both, only=_only(selected, listed), folders=())


def _only(selected: Sequence[Arm], plan: Plan) -> tuple[str, ...]:
    """Return the patterns by which jobs on a plan's frozen file select these arms; none where they are all."""
    return tuple(glob.escape(arm.name) for arm in selected) if len(selected) < len(plan.arms) else ()


def _with_seeds(plan: Plan, seeds: dict[int, None]) -> Plan:
    experiment = plan.file.experiment.model_copy(update={"seeds": tuple(seeds)})
    return replace(plan, file=replace(plan.file, experiment=experiment))


def refuse_missing(plan: Plan) -> None:
    """Look whether what the selected replicates start from is trained, where they have not begun themselves.

    Raises:
        RunError: with a line for each start that is not, and the command that makes it.
    """
    lacking: dict[str, None] = {}
    listed = functools.cache(trainings_by_identity)
    for replicate in plan.work:
        if replicate.state is State.DONE or replicate.checkpoints():
            continue  # it has its own weights by now
        try:
            start_of(replicate, listed)
        except RunError as error:
            lacking[str(error)] = None
    if not lacking:
        return
    failed = {one.file.path: None for one in _starts(plan) if any(r.state is State.FAILED for r in one.replicates)}
    verbs = [f"`retry {path} --runs {plan.runs}`" for path in failed] or [
        f"`launch {plan.file.path} --runs {plan.runs}`"
    ]
    told = "it has failed: mend the cause, then" if failed else "nothing else can make it now:"
    raise RunError("\n".join([*lacking, f"{told} {' and '.join(verbs)}"]))


def other_videos(plan: Plan) -> list[str]:
    """Return a line for each selected arm whose start is trained on other videos than the arm."""
    lines = []
    for arm, start, spec in _arms_and_starts(plan):
        theirs, ours = _videos(spec), _videos(arm.spec)
        if theirs != ours:
            place = plan.file.place(("base", *start.key))
            lines.append(
                f"{place}: warning: arm {arm.name}: {'.'.join(start.key)}: {start.experiment.name} is trained on "
                f"other videos: {theirs} for {ours}"
            )
    return lines


def _arms_and_starts(plan: Plan) -> Iterator[tuple[Arm, Start, Spec]]:
    """Each selected arm with each of its starts and the spec of that; an experiment is resolved once."""
    others: dict[tuple[Path, tuple[str, ...]], dict[str, Spec]] = {}
    for arm in plan.selected:
        for start in starts_of(arm.spec):
            place = start.experiment, start.overrides
            if place not in others:
                others[place] = {one.name: one.spec for one in load_plan(*place, plan.runs).arms}
            yield arm, start, others[place][start.arm]


def _videos(spec: Spec) -> str:
    """What a spec says of the videos that it is trained on, in a line."""
    data = spec.data
    path = "" if data.path is None else f" in {expanded(data.path).resolve()}"
    parameters = ", ".join(f"{name} {value}" for name, value in data.dataset.parameters.items())
    return f"{data.dataset.name}{f' ({parameters})' if parameters else ''}{path}"


def refuse_unfit(plan: Plan) -> None:
    """Look whether the networks that selected arms start from fit theirs, before any of them is trained.

    Raises:
        SpecError: with a line for each arm whose start does not.
    """
    from components.assembly import Assembly

    wrong = []
    for arm, start, spec in _arms_and_starts(plan):
        given = Assembly(spec).model("meta").state_dict()
        assembly = Assembly(arm.spec, plan.file.parts)
        found = assembly.initialisation().mismatches(assembly.model("meta"), given)
        place = plan.file.place(("base", *start.key))
        wrong += [f"{place}: arm {arm.name}: {'.'.join(start.key)}: {text}" for text in found[:3]]
    if wrong:
        raise SpecError(wrong)
