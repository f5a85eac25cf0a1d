"""An experiment's tuning: the plan of the short trainings that come first, and its arms with what these have chosen."""

import math
from collections.abc import Sequence
from dataclasses import replace

from experiments.plan.plan import Plan
from experiments.plan.stages import TUNING, stage_plan
from registry.errors import RunError
from registry.experiment.arm import Arm
from registry.experiment.tuning import TuningCandidate
from registry.runs.divergence import says_diverged
from registry.runs.records import State
from registry.runs.replicate import Replicate, replicate_of
from registry.runs.tunings import SUFFIX, Tried, TunedArm, read_tuned, tuning_key
from registry.schema.tune import Tune


def tuning_plan(plan: Plan) -> Plan:
    """Return the plan of an experiment's tuning: the candidates of all its arms, whichever are selected."""
    tune, name = tune_of(plan), plan.name
    about = f"Finds {' and '.join(tune.values)} of each arm of {name} by {tune.metric}, in short trainings."
    runs = [candidate.run for candidate in plan.candidates]  # arms that share a training share its candidates
    return stage_plan(plan, TUNING, name + SUFFIX, runs, {"about": about, "seeds": tune.seeds})


def tune_of(plan: Plan) -> Tune:
    """Return what the file of an experiment that tunes its arms says of it."""
    tune = plan.file.experiment.tune
    assert tune is not None, "called for experiments that have one"
    return tune


def by_arm(plan: Plan) -> dict[str, list[TuningCandidate]]:
    """Return the candidates of each arm, in the order of the file."""
    found: dict[str, list[TuningCandidate]] = {arm.name: [] for arm in plan.arms}
    for candidate in plan.candidates:
        found[candidate.owner].append(candidate)
    return found


def key_of(plan: Plan, candidates: Sequence[TuningCandidate]) -> str:
    """Return what names the choice among an arm's candidates."""
    tune = tune_of(plan)
    return tuning_key([candidate.run.identity for candidate in candidates], tune.metric, tune.seeds)


def with_chosen(plan: Plan) -> Plan:
    """Return the plan with the values that were chosen in its arms; as it is where those of some arm are not yet.

    Raises:
        DamagedError: a file of what was chosen is not as it was written.
    """
    folder = plan.runs / f"{plan.name}{SUFFIX}"
    chosen: dict[str, TunedArm] = {}
    arms: dict[str, Arm] = {}
    candidates = by_arm(plan)
    for arm in plan.arms:
        found = read_tuned(folder, key_of(plan, candidates[arm.name]))
        if found is None:
            return plan
        spec = next(one.spec for one in candidates[arm.name] if one.run.identity == found.identity)
        chosen[arm.name], arms[arm.name] = found, replace(arm, spec=spec)
    selected = [arms[arm.name] for arm in plan.selected]
    return replace(plan, arms=list(arms.values()), selected=selected, chosen=chosen)


def choice(plan: Plan, candidates: Sequence[TuningCandidate]) -> TunedArm:
    """Return the best of an arm's candidates: the least mean over the seeds, of equals the first in the file.

    A candidate whose loss, or whose clips, did not stay finite is worse than any other.

    Args:
        plan: of the experiment.
        candidates: of one of its arms.

    Raises:
        RunError: a short training is not done, or all candidates diverged.
    """
    tune, first = tune_of(plan), candidates[0]
    scores = [_score(plan, candidate, tune) for candidate in candidates]
    best = min(range(len(scores)), key=scores.__getitem__)
    if math.isinf(scores[best]):
        raise RunError(
            f"{plan.name}{SUFFIX}: arm {first.owner}: all candidates diverged (their losses or clips are not "
            f"finite); give tune others of {' and '.join(tune.values)}"
        )
    tried = [
        Tried(values=dict(one.values), identity=one.run.identity, score=score if math.isfinite(score) else None)
        for one, score in zip(candidates, scores, strict=True)
    ]
    return TunedArm(
        arm=first.owner,
        values=tried[best].values,
        identity=tried[best].identity,
        metric=tune.metric,
        raw=candidates[best].raw,
        steps=first.run.spec.learning.steps,
        seeds=tune.seeds,
        tried=tried,
    )


def _score(plan: Plan, candidate: TuningCandidate, tune: Tune) -> float:
    """The mean of a candidate over the seeds of the tuning; infinite where it diverged."""
    values = []
    for seed in tune.seeds:
        replicate = replicate_of(plan.name + SUFFIX, candidate.run, seed, plan.runs)
        result = replicate.result()
        if result is None and not diverged(replicate):
            raise RunError(f"{plan.name}{SUFFIX}: {replicate.name} is not done, but {replicate.state}")
        values.append(math.inf if result is None else result.scores.get(tune.metric, math.inf))
    mean = sum(values) / len(values)
    return mean if math.isfinite(mean) else math.inf


def diverged(replicate: Replicate) -> bool:
    """Return whether a replicate has failed for a loss or clips that are not finite, which says how good it is."""
    last = replicate.last_word() if replicate.state is State.FAILED else None
    return last is not None and says_diverged(last.error)


def without_diverged(plan: Plan, replicates: Sequence[Replicate]) -> list[Replicate]:
    """Return replicates of a plan but for those that diverged in a tuning: that is their answer."""
    return [one for one in replicates if not (plan.stage == TUNING and diverged(one))]


def waiting_text(plan: Plan) -> str:
    """Return what an experiment says whose arms are not tuned yet."""
    keys = " and ".join(tune_of(plan).values)
    return f"{plan.name}: its arms get {keys} when their tuning is done; until then they have no identity and no runs"


def refuse_untuned(plan: Plan) -> None:
    """Look whether the arms of a plan have their values.

    Raises:
        RunError: they are to be tuned first; with the commands that do it and show it.
    """
    if plan.untuned:
        words = f"{plan.file.path} --runs {plan.runs}"
        raise RunError(f"{waiting_text(plan)}: `launch {words}` does both, `status {words} --tuning` shows the tuning")
