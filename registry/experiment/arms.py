"""An experiment -> its resolved arms and claims, with matched depth where the experiment asks for it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from registry.errors import SpecError, did_you_mean
from registry.experiment.arm import Arm
from registry.experiment.claims import ResolvedClaim, resolve_claims
from registry.experiment.comparable import averageable, unevaluated, unjudgeable
from registry.experiment.compatibility import any_below
from registry.experiment.expand import Draft, make_drafts, sound_axes, trial_draft
from registry.experiment.experiment_file import AXES, ExperimentFile, dotted
from registry.experiment.matching import (
    Candidate,
    Count,
    Matching,
    all_matched,
    claims_in_each_way,
    in_each_way,
    matched,
    told_once,
    ways_of,
)
from registry.experiment.resolve import UNTOLD, Problem, resolve_as_far_as_right
from registry.experiment.rungs import rung_arms
from registry.experiment.search_checks import screen_problems, search_problems
from registry.experiment.starts import read_once, with_starts
from registry.experiment.tuning import TuningCandidate, tune_problems, tuning_candidates
from registry.experiment.until_decided_checks import until_decided_problems
from registry.schema.spec import Spec
from registry.schema.values import NETWORK, values_at
from registry.strict_yaml import Key


@dataclass
class Resolution:
    """What an experiment comes to, as far as it is right, and everything that is wrong with it.

    Args:
        arms: those that are right, baseline first, each science once.
        claims: those about such arms.
        problems: one line for each.
        names: of all arms, right or wrong.
        checkable: arms whose parts can be assembled, and the keys of each that hold no value that was written.
        tuning: the candidates of every arm, where the experiment tunes them and nothing is wrong.
    """

    arms: list[Arm]
    claims: list[ResolvedClaim]
    problems: list[str]
    names: list[str]
    checkable: list[tuple[Arm, list[Key]]]
    tuning: list[TuningCandidate] = field(default_factory=list)


def resolve_experiment(file: ExperimentFile, count: Count | None = None) -> tuple[list[Arm], list[ResolvedClaim]]:
    """Every arm of the experiment, baseline first, each science once; and its claims about them.

    Args:
        file: the experiment as read.
        count: counts the parameters and MACs of a spec; needed only where the experiment has `match`.

    Raises:
        SpecError: one line for each problem of the file, the base, each axis, each arm and each claim, at the place
            where it was written.
    """
    found = resolution(file, count)
    if found.problems:
        raise SpecError(found.problems)
    return found.arms, found.claims


@read_once()
def resolution(file: ExperimentFile, count: Count | None = None) -> Resolution:
    """As `resolve_experiment`, but what is wrong is returned, beside all that is right."""
    baseline, inherited = _resolve(file, file.experiment.base)
    lines = [*file.problems]
    lines += [f"{file.place(('base', *key))}: {dotted(('base', *key))}: {text}" for key, text in inherited if text]
    wrong, file = sound_axes(file)
    lines += wrong
    drafts = make_drafts(file, baseline)
    found, wrong = _candidates(file, drafts, inherited)
    found = in_each_way(file, found, drafts[0])
    lines += wrong
    claims, wrong = resolve_claims(file, drafts)
    claims = claims_in_each_way(file, claims, drafts[0])
    lines += wrong
    lines += search_problems(file, None if any_below([key for key, _ in inherited], SCHEDULE) else baseline)
    comparable = [one for one in found if found[0].draft is drafts[0] and one.unknown == found[0].unknown]
    lines += _compared(file, comparable, count)
    lines += until_decided_problems(file, [(one.arm.name, one.arm.spec) for one in comparable])
    specs = _on_the_same_videos([one.draft for one in comparable], [one.arm.spec for one in comparable])
    arms = [replace(one.arm, spec=spec) for one, spec in zip(comparable, specs, strict=True)]
    arms, claims, wrong = _once(file, arms, claims)
    lines += wrong
    lines += (wrong := tune_problems(file))
    tuning: list[TuningCandidate] = []
    if file.experiment.tune is not None and not wrong:
        tuning, wrong = tuning_candidates(file, arms)
        lines += wrong
    if arms and not lines and file.experiment.scored_screen is not None:
        lines += rung_arms(file, arms)[1]
    checkable = [(one.arm, one.unknown) for one in found if not one.uncountable]
    names = [*(draft.name for draft in drafts), *(one.arm.name for one in found)]
    return Resolution(arms, claims, list(dict.fromkeys(lines)), list(dict.fromkeys(names)), checkable, tuning)


# Keys that say when a training is looked at.
SCHEDULE = ("runtime.validate_every", "learning.steps")


def _candidates(
    file: ExperimentFile, drafts: list[Draft], inherited: list[Problem]
) -> tuple[list[Candidate], list[str]]:
    """Each draft resolved as far as it is right, and a line for each problem.

    Args:
        file: the experiment.
        drafts: of its arms.
        inherited: what the base has wrong: told once, there, unless an arm wrote the key anew.
    """
    found, lines = [], []
    for draft in drafts:
        spec, problems = _resolve(file, draft.raw)
        for key, text in problems:
            own = (key, text) not in inherited or any(key[: len(changed)] == changed for changed in draft.changed)
            if own and text != UNTOLD:
                lines.append(f"{file.place(draft.place)}: arm {draft.name}: {dotted(key)}: {text}")
        if spec is not None:
            found.append(Candidate(draft, Arm(draft.name, draft.axes, spec), [key for key, _ in problems]))
    return found, lines


def _compared(file: ExperimentFile, found: list[Candidate], count: Count | None) -> list[str]:
    """What is wrong with the screen and with matching, which hold arms against the first: a line for each problem.

    Args:
        file: the experiment.
        found: arms with nothing wrong but what the first of them has as well; brought to the depth of `match`.
        count: as in `resolve_experiment`.
    """
    lines: list[str] = []
    if found and not any_below(found[0].unknown, SCHEDULE):
        lines += screen_problems(file, [(one.arm.name, one.arm.spec) for one in found])
    if found and file.experiment.match is not None and count is not None and not any_below(found[0].unknown, NETWORK):
        lines += all_matched(file, found, count, _resolve)
    return lines


@read_once()
def resolve_trial(
    file: ExperimentFile, name: str, values: Mapping[str, Any], baseline: Spec, count: Count | None = None
) -> Arm:
    """A trial of the experiment's search as one more arm, resolved and matched like every other.

    Args:
        file: a sound experiment.
        name: of the trial.
        values: by key of the space.
        baseline: what `match` is about.
        count: as in `resolve_experiment`.

    Raises:
        SpecError: the values do not go together.
    """
    draft = trial_draft(file, name, values)
    spec, problems = _resolve(file, draft.raw)
    lines = [f"{dotted(key)}: {text}" for key, text in problems]
    if spec is not None and not lines and count is not None and (ways := ways_of(file)):
        matching = Matching(next(iter(ways)), count, _resolve)  # a search has one way (`search_problems`)
        spec, lines = matched(file, draft, Arm(name, draft.axes, spec), baseline, matching)
    if lines or spec is None:
        raise SpecError(lines)
    return Arm(name, draft.axes, _with_videos_for(spec, _longest_clip_of_trials(file, spec)))


def _resolve(file: ExperimentFile, raw: Mapping[str, Any]) -> tuple[Spec | None, list[Problem]]:
    """Resolve one arm as far as it is right; the experiment's plugins go into its spec, so that it says all."""
    if "plugins" in raw:
        return None, [(("plugins",), "stands at the top level of an experiment, not in its base")]
    plugins = () if file.parts.incomplete else file.experiment.plugins
    spec, problems = resolve_as_far_as_right({**raw, "plugins": plugins}, file.parts)
    if spec is None:
        return None, problems
    spec, wrong = with_starts(spec, _specs)
    return spec, [*problems, *wrong]


def _specs(file: ExperimentFile) -> tuple[dict[str, Spec], list[str]]:
    """The specs of an experiment's arms by name, and everything that is wrong with it."""
    found = resolution(file)
    return {arm.name: arm.spec for arm in found.arms}, found.problems


def _once(
    file: ExperimentFile, arms: list[Arm], claims: list[ResolvedClaim]
) -> tuple[list[Arm], list[ResolvedClaim], list[str]]:
    """Each science once: a point that repeats an earlier arm is that arm, a named arm that does is an error."""
    kept: dict[str, Arm] = {}
    owner: dict[str, Arm] = {}  # name -> the arm that is kept for it
    lines = []
    for arm in arms:
        same = kept.setdefault(arm.identity, arm)
        if same is not arm and arm.spec.data.path != same.spec.data.path:
            lines.append(
                f"{_path_place(file, arm)}: arm {arm.name} differs from arm {same.name} only in data.path, which is no "
                "part of what identifies an arm; write an experiment of its own for another data set, or give "
                "data.dataset the parameters that tell the two apart"
            )
        elif same is not arm and arm.name in file.experiment.arms:
            lines.append(f"{file.place(('arms', arm.name))}: arms.{arm.name}: is the same as arm {same.name!r}")
        if owner.setdefault(arm.name, same) is not same:
            lines.append(f"{file.path}: two arms are called {arm.name!r}")
    owned = [
        replace(claim, arms=tuple(owner[name].name for name in claim.arms))
        for claim in claims
        if all(name in owner for name in claim.arms)
    ]
    specs = {arm.name: arm.spec for arm in kept.values()}
    for claim in owned:
        if why := unjudgeable(claim, specs) or unevaluated(claim, specs, file.experiment):
            lines.append(f"{file.place(('claim',))}: claim on {claim.axis}: {why}")
    owned = told_once([part for claim in owned for part in averageable(claim, specs)]) if not lines else []
    return list(kept.values()), owned, lines


def _path_place(file: ExperimentFile, arm: Arm) -> str:
    """Return where an arm is given a `data.path` of its own."""
    if arm.name in file.experiment.arms:
        return file.place(("arms", arm.name))
    key = "data.path"
    return next((file.place((own, key)) for own in AXES if key in getattr(file.experiment, own)), str(file.path))


def _on_the_same_videos(drafts: Sequence[Draft], specs: Sequence[Spec]) -> list[Spec]:
    """Every arm to be trained on the videos that are long enough for the longest clip of any arm of its data set.

    An arm of short clips would otherwise see more and other videos than one of long clips, and win or lose by them.
    Arms that vary `data.shortest_video` themselves stay as they are written.
    """
    own = [any(key == ("data", "shortest_video") for key in draft.changed) for draft in drafts]
    longest: dict[str, int] = {}
    for spec, varied in zip(specs, own, strict=True):
        needed = spec.data.clip_frames if varied else spec.data.least_frames
        longest[_videos(spec)] = max(longest.get(_videos(spec), 0), needed)
    return [
        spec if varied else _with_videos_for(spec, longest[_videos(spec)])
        for spec, varied in zip(specs, own, strict=True)
    ]


def _videos(spec: Spec) -> str:
    return values_at(spec, ("data.dataset", "data.path"))


def _with_videos_for(spec: Spec, frames: int) -> Spec:
    """The spec, trained on videos of at least so many frames; as it is where its own clips need no fewer."""
    if spec.data.least_frames >= frames:
        return spec
    return spec.model_copy(update={"data": spec.data.model_copy(update={"shortest_video": frames})})


def _longest_clip_of_trials(file: ExperimentFile, spec: Spec) -> int:
    """Frames of the longest clip that the search of the experiment may try on this trial's data set."""
    space = file.experiment.search.space if file.experiment.search is not None else {}
    keys = ("frames", "interval")
    values = [space[f"data.{key}"].edges if f"data.{key}" in space else (getattr(spec.data, key),) for key in keys]
    most = {key: max(offered) for key, offered in zip(keys, values, strict=True)}
    return spec.data.model_copy(update=most).clip_frames


def select(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """The names that match any of the fnmatch patterns (`!pattern` takes away); all names for no pattern.

    Raises:
        SpecError: a pattern that matches no arm, or patterns that leave none.
    """
    from fnmatch import fnmatchcase

    names, patterns = list(dict.fromkeys(names)), list(patterns)
    wanted = [p for p in patterns if not p.startswith("!")]
    unwanted = [p[1:] for p in patterns if p.startswith("!")]
    for pattern in (*wanted, *unwanted):
        if not any(fnmatchcase(name, pattern) for name in names):
            raise SpecError(f"no arm matches {pattern!r}; {did_you_mean(pattern, names)}")
    selected = [
        name
        for name in names
        if (not wanted or any(fnmatchcase(name, p) for p in wanted)) and not any(fnmatchcase(name, p) for p in unwanted)
    ]
    if not selected:
        raise SpecError(f"no arm is left by --only {' --only '.join(map(repr, patterns))}")
    return selected
