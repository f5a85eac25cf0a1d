"""A screen: all arms run to the first rung, the best share of them to the next, and so on.

The controller only writes what is desired of each replicate (pause at a step, or stop for good) and starts what may go
on; pausing and going on is exact. All that it knows is in files, so it can be killed and the same command goes on.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from experiments.launch.controller import Launched, Wants
from experiments.launch.executor import Executor
from experiments.launch.launching import stop_for_good
from experiments.plan.plan import Plan
from experiments.plan.screening import rungs_folder
from experiments.record.recording import desire
from experiments.record.states import states
from experiments.search.early_metrics import by_step
from experiments.search.halving import Cut, Decision, Standing, decide
from experiments.search.watched import Watching, launch_watched, listed
from registry.errors import SpecError
from registry.runs.attempts import numbered, take
from registry.runs.records import State, read_json
from registry.runs.replicate import Replicate
from registry.schema.search import Screen

OUT_OF_RACE = (State.FAILED, State.DAMAGED, State.CANCELLED, State.STOPPED)


class Rungs:
    """What was decided at each rung: a numbered file each, made once and never changed.

    Args:
        plan: of the experiment; another baseline makes another screen.
        screen: as the file has it now.

    Raises:
        SpecError: decisions were made by another screen.
    """

    def __init__(self, plan: Plan, screen: Screen) -> None:
        self.screen = screen
        self.folder: Path = rungs_folder(plan)
        for number, path in enumerate(numbered(self.folder)):
            made, now = read_json(path) or {}, self._terms(number)
            if any(made.get(key) != value for key, value in now.items()):
                then = ", ".join(f"{key} {made.get(key)}" for key in now)
                raise SpecError(
                    f"{plan.file.path}: screen: rung {number + 1} was decided with {then}; the file now says "
                    f"{', '.join(f'{key} {value}' for key, value in now.items())}. Give the experiment another name, "
                    f"or remove {self.folder} (arms that were stopped stay so)"
                )

    def decided(self) -> dict[int, Cut]:
        """Step -> what was decided there."""
        found = [read_json(path) for path in numbered(self.folder)]
        return {one["step"]: Cut(one["step"], one["values"], tuple(one["kept"])) for one in found if one}

    def write(self, made: Cut) -> None:
        """Write down a decision, unless another process was quicker: then its decision stands."""
        number = self.screen.rungs.index(made.step)
        content = {**self._terms(number), "values": dict(made.values), "kept": list(made.kept), "order": made.order}
        try:
            take(self.folder, number + 1, content)
        except FileExistsError:
            return

    def _terms(self, number: int) -> dict[str, object]:
        rungs = self.screen.rungs
        step = rungs[number] if number < len(rungs) else None
        terms: dict[str, object] = {"step": step, "metric": self.screen.metric, "keep": self.screen.keep}
        if self.screen.by_score:
            terms["evaluation"] = json.loads(json.dumps(self.screen.evaluation))  # lists, as they are read back
        return terms


def standings(todo: Mapping[str, Sequence[Replicate]], now: Mapping[Path, State], metric: str) -> dict[str, Standing]:
    """How far every arm is.

    Args:
        todo: an arm's identity -> its replicates.
        now: run folder -> state.
        metric: what is looked at.
    """
    return {
        identity: Standing(
            by_step([replicate.metrics() for replicate in own], metric),
            not any(now[replicate.folder] in OUT_OF_RACE for replicate in own),
        )
        for identity, own in todo.items()
    }


def apply(decision: Decision, todo: Mapping[str, Sequence[Replicate]], executor: Executor) -> None:
    """Write what is wanted into the run folders; again changes nothing. What a person cancelled stays cancelled.

    Replicates that were never launched have no folder; they are told when they are.

    Args:
        decision: what is wanted.
        todo: an arm's identity -> its replicates.
        executor: takes away those that wait and are out.
    """
    there = {identity: [replicate for replicate in own if replicate.folder.exists()] for identity, own in todo.items()}
    for identity, reason in decision.out.items():
        if own := [replicate for replicate in there[identity] if _wish(replicate)[0] != "stop"]:
            stop_for_good(own, reason, executor)
    for identity, until in decision.until.items():
        for replicate in there[identity]:
            action, before = _wish(replicate)
            if action == "run" and before != until:
                reason = f"a screen looks at all arms at step {until}" if until is not None else ""
                desire(replicate, "run", until=until, reason=reason)


def _wish(replicate: Replicate) -> tuple[str, int | None]:
    """What is desired of a replicate, and the step that it is to pause at."""
    desired = replicate.desired()
    return (desired.action, desired.until) if desired else ("run", None)


def launch_screened(plan: Plan, executor: str, told: Watching) -> Launched:
    """Run the selected arms as the experiment's screen says, and return when they have nothing more to do.

    The race is over all arms of the file, whatever is selected: a rung waits for those that others have to launch.

    Args:
        plan: what to launch.
        executor: local, slurm or debug.
        told: who is told how it gets on.

    Raises:
        RunError: another process is running it; the data cannot be prepared; the executor refuses again and again.
        SpecError: the plan is wrong, or rungs were decided by another screen.
    """
    screen = plan.file.experiment.screen
    assert screen is not None, "called for experiments that have one"

    def race_of(launched: Launched) -> Race:
        return Race(plan, Rungs(plan, screen), launched, told.say)

    launched, race = launch_watched(plan, executor, rungs_folder(plan).parent, race_of, told)
    race.tell_who_waits()
    return launched


class Race:
    """The policy of a screen: of all arms of the file, the best share goes on at every rung; selected ones are started.

    Args:
        plan: what is launched.
        rungs: what was decided.
        launched: the selected replicates.
        say: takes a line for each rung that is decided.
    """

    def __init__(self, plan: Plan, rungs: Rungs, launched: Launched, say: Callable[[str], None]) -> None:
        self.plan, self.screen, self.rungs, self.launched, self.say = plan, rungs.screen, rungs, launched, say
        self.todo: dict[str, list[Replicate]] = {}
        for replicate in plan.all_replicates:
            self.todo.setdefault(replicate.identity, []).append(replicate)
        self.racing = [replicate for own in self.todo.values() for replicate in own]

    def next(self, executor: Executor) -> Wants:
        """Look at every arm, decide what can be decided, and start what may go on."""
        before = self._states()
        while True:
            standing = standings(self.todo, before, self.screen.metric)
            decision = decide(standing, self.screen.rungs, self.screen.keep, self.rungs.decided())
            if decision.cut is None:
                break
            self.rungs.write(decision.cut)
            self.say(told(self.plan, decision.cut))
        apply(decision, self.todo, executor)
        by_folder = self._states()
        selected = self.launched.todo
        left = [replicate for replicate in selected if by_folder[replicate.folder].startable]
        start = executor.prepare(self.plan, left) if left else []
        # Who ran when the look began may have come to the rung only behind what the decision knew.
        over = not left and not any(state.active for state in (*before.values(), *by_folder.values()))
        return Wants(start, selected, [by_folder[replicate.folder] for replicate in selected], over)

    def tell_who_waits(self) -> None:
        """Say which arms others have to launch before those that pause can go on."""
        by_folder = self._states()
        step = next((_wish(replicate)[1] for replicate in self.racing
                     if by_folder[replicate.folder] == "paused"), None)  # fmt: skip
        missing = [replicate for replicate in self.racing if by_folder[replicate.folder].startable]
        names = list(dict.fromkeys(replicate.arm for replicate in missing))
        if step is not None and names:
            self.say(
                f"screen: the race is between all arms of the file: those that are at step {step} wait for "
                f"{listed(names)}; launch these as well"
            )

    def _states(self) -> dict[Path, State]:
        """Run folder -> state, of every replicate of the race."""
        return dict(zip((replicate.folder for replicate in self.racing), states(self.racing), strict=True))


def told(plan: Plan, made: Cut) -> str:
    """Return a decision in words."""
    names = {arm.identity: arm.name for arm in plan.arms}
    kept = ", ".join(names.get(identity, identity) for identity in made.kept)
    return f"screen: at step {made.step} {len(made.kept)} of {len(made.values)} arms go on: {kept}"
