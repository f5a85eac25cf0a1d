"""What the controller of a search decides, as functions of what the journal and the run folders say."""

from collections.abc import Sequence
from typing import Literal

from experiments.search.study import Trial
from registry.runs.records import State
from registry.schema.search import Search

MOST_UNSOUND = 10  # times the budget: then the space is mostly made of what does not go together
Conclusion = Literal["complete", "pruned", "failed", "cancelled"]


def concluded(states: Sequence[State]) -> Conclusion | None:
    """How a trial has ended whose replicates have these states; None where something goes on, or has to be started."""
    if all(state == "done" for state in states):
        return "complete"
    if any(state.active for state in states):
        return None
    if "stopped" in states:
        return "pruned"
    if State.FAILED in states or State.DAMAGED in states:
        return "failed"
    return "cancelled" if "cancelled" in states else None


def room(trials: Sequence[Trial], search: Search) -> bool:
    """Whether one more trial may begin now."""
    return sum(trial.state == "running" for trial in trials) < search.parallel


def wanted_new(trials: Sequence[Trial], search: Search) -> bool:
    """Whether the budget has a trial left.

    One that is tried again counts once. Values that do not go together cost nothing and do not count, within reason.
    """
    unsound = sum(not trial.identity for trial in trials)
    begun = sum(trial.again_of is None and bool(trial.identity) for trial in trials)
    return begun < search.trials and unsound < MOST_UNSOUND * search.trials


def wanted_again(trials: Sequence[Trial]) -> int | None:
    """The failed trial that is to be tried again first, if there is one; each is tried again once."""
    taken = {trial.again_of for trial in trials}
    for trial in trials:
        if trial.state == "failed" and trial.failed.get("again") and trial.number not in taken:
            return trial.number
    return None


def may_try_again(trial: Trial, trials: Sequence[Trial]) -> bool:
    """Whether a failed trial has a second chance: not if its spec has had one already."""
    return not any(other.identity == trial.identity and other.again_of is not None for other in trials)
