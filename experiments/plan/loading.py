"""An experiment file -> its `Plan`: read, validated, resolved, and reduced to what a command is about."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from components.network_counts import count_for_matching
from experiments.plan.plan import Plan
from experiments.plan.screening import screen_plan
from experiments.plan.stages import SCREEN, TUNING
from experiments.plan.tuning import refuse_untuned, tuning_plan, with_chosen
from registry.errors import RunError, SpecError, did_you_mean
from registry.experiment.arm import Arm
from registry.experiment.arms import resolution, select
from registry.experiment.experiment_file import load_experiment
from registry.runs.places import folder_name
from registry.runs.replicate import open_replicate


def load_plan(
    path: Path,
    overrides: Iterable[str] = (),
    runs: Path = Path("runs"),
    only: Iterable[str] = (),
    folders: Iterable[str] = (),
    assembled: bool = False,
    stage: str = "",
) -> Plan:
    """Read, validate and resolve an experiment file.

    Args:
        path: the experiment file.
        overrides: `key.path=value` words.
        runs: the folder of all runs.
        only: fnmatch patterns of arm names; `!pattern` takes away.
        folders: fnmatch patterns of run folders that are selected instead, such as those of a search's trials.
        assembled: where something is wrong, also tell what `check` would find in all that is right.
        stage: `tuning` or `screen`: the plan of that of the experiment instead, and `only` patterns of its arms.

    Raises:
        SpecError: with one line for everything that is wrong.
        RunError: the file of what a tuning has chosen is damaged, or a screen that is asked for has not begun.
    """
    overrides = tuple(overrides)
    file = load_experiment(path, overrides)
    found = resolution(file, count_for_matching)
    only, folders = tuple(only), tuple(folders)
    lines = list(found.problems)
    if lines and assembled:
        from experiments.plan.assembling import assemble  # imports torch, which most verbs do without

        lines += assemble(file, found.checkable)[1]
    if folders and only:
        lines.append("--only selects arms and --folder run folders: give one of the two")
    try:
        selected = [] if stage else select(found.names if lines else [arm.name for arm in found.arms], only)
    except SpecError as error:
        lines += error.problems
    if lines:
        raise SpecError(list(dict.fromkeys(lines)))
    arms = [arm for arm in found.arms if arm.name in selected]
    plan = Plan(file, found.arms, found.claims, runs, arms, only, folders, overrides, candidates=found.tuning)
    if stage == TUNING:
        plan = _selected(_tuning_of(plan), plan)
    elif plan.candidates:
        plan = with_chosen(plan)
    if stage == SCREEN:
        plan = _selected(_screen_of(plan), plan)
    return _in_folders(plan) if folders else plan


def _tuning_of(plan: Plan) -> Plan:
    """The plan of an experiment's tuning.

    Raises:
        SpecError: the experiment tunes nothing.
    """
    if not plan.candidates:
        raise SpecError(f"{plan.file.path}: the experiment has no `tune`, so that there is no --tuning of it")
    return tuning_plan(plan)


def _screen_of(plan: Plan) -> Plan:
    """The plan of what an experiment's screen has asked for until now.

    Raises:
        RunError: the arms are not tuned yet, or the screen has not begun.
        SpecError: it has no screen by a score.
    """
    if plan.file.experiment.scored_screen is None:
        raise SpecError(
            f"{plan.file.path}: the experiment has no `screen` by a score, so that there is no --screen of it"
        )
    refuse_untuned(plan)
    screen = screen_plan(plan)
    begun = [arm for arm in screen.arms if (screen.folder / folder_name(arm.name, arm.identity)).exists()]
    if not begun:
        raise RunError(f"{screen.name}: nothing of it was begun; `launch {plan.file.path} --runs {plan.runs}` does")
    return replace(screen, selected=begun)


def _selected(stage: Plan, plan: Plan) -> Plan:
    """The plan of a stage with what the patterns of a command select of it.

    Raises:
        SpecError: a pattern matches nothing.
    """
    names = select([arm.name for arm in stage.selected], plan.only)
    selected = [arm for arm in stage.selected if arm.name in names]
    return replace(stage, selected=selected, only=plan.only, folders=plan.folders)


def _in_folders(plan: Plan) -> Plan:
    """The plan with the run folders that its patterns name as what is selected, each as its own files say.

    Raises:
        SpecError: there are none, or two of them have the same name of an arm.
        RunError: a folder holds no spec of this version.
    """
    places = [path for path in sorted(plan.folder.glob("*/seed-*")) if path.is_symlink()]
    names = sorted({path.parent.name for path in places})
    for pattern in plan.folders:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise SpecError(f"no run folder in {plan.folder} matches {pattern!r}; {did_you_mean(pattern, names)}")
    found = [open_replicate(path) for path in places if any(fnmatchcase(path.parent.name, one) for one in plan.folders)]
    selected = {one.identity: Arm(one.arm, one.axes, one.spec) for one in found}
    twice = [name for name, number in Counter(arm.name for arm in selected.values()).items() if number > 1]
    if twice:
        raise SpecError(f"several run folders in {plan.folder} are of {twice[0]!r}: name one with its identity")
    seeds = tuple(sorted({one.seed for one in found}))
    file = replace(plan.file, experiment=plan.file.experiment.model_copy(update={"seeds": seeds}))
    return replace(plan, file=file, claims=[], selected=list(selected.values()))
