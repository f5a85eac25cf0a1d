"""A screen by a score: at each rung the arms that are left are sampled and scored, and the best share of them goes on.

What is evaluated at a rung is an experiment like any other, `<experiment>-screen`, on the trainings of the arms: each
goes to its rung, is sampled there in the screen's cheaper way, and goes on from its checkpoint. The arms themselves are
launched when all rungs are decided, and only those that are kept. Decisions are the files of `screening.Rungs`, so
that a killed process decides nothing twice.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from experiments.launch.controller import Launched
from experiments.launch.launching import AllToTheEnd
from experiments.plan.plan import Plan
from experiments.plan.screening import mean_score, owners, rungs_folder, screen_of, screen_plan
from experiments.record.recording import desire, stop_unbegun
from experiments.search.halving import Decision, Standing, decide
from experiments.search.screening import OUT_OF_RACE, Rungs, told
from experiments.search.watched import Watching, launch_watched, listed
from registry.experiment.rungs import score_of
from registry.runs.replicate import Replicate


def launch_screened_by_score(plan: Plan, executor: str, watching: Watching) -> Launched:
    """Run the selected arms as the experiment's screen says, and return when they have nothing more to do.

    The race is over all arms of the file, whatever is selected: a rung waits for those that others have to launch.

    Args:
        plan: what to launch.
        executor: local, slurm or debug.
        watching: is told how it gets on.

    Raises:
        RunError: another process is running it; the data cannot be prepared; the executor refuses again and again.
        SpecError: the plan is wrong, or rungs were decided by another screen.
    """
    race = ScoredRace(plan, watching.say)
    launched = Launched([])
    for wanted in race.plans():
        policy = functools.partial(AllToTheEnd, wanted)
        ended, _ = launch_watched(wanted, executor, rungs_folder(plan).parent, policy, watching)
        launched.todo += ended.todo
        launched.submitted += ended.submitted
    race.tell_who_waits()
    return launched


class ScoredRace:
    """What a screen by a score has decided, and what it wants next.

    Args:
        plan: of the experiment.
        say: takes a line for each decision; None: nothing is written, and what would be decided is only looked at.
    """

    def __init__(self, plan: Plan, say: Callable[[str], None] | None) -> None:
        self.plan, self.screen, self.say = plan, screen_of(plan), say
        self.rungs, self.own, self.owners = Rungs(plan, self.screen), screen_plan(plan), owners(plan)
        self.decided, self.score = self.rungs.decided(), score_of(plan.file, self.screen)
        self.standings: Mapping[str, Standing] = {}  # at the last look
        self.replicates: dict[str, list[Replicate]] = {}
        for replicate in self.own.replicates:
            self.replicates.setdefault(replicate.identity, []).append(replicate)

    def plans(self) -> Iterator[Plan]:
        """Yield what is to be launched, one behind the other: rung by rung, then the arms that are kept.

        What a launch leaves undone is not wanted again.
        """
        tried: set[str] = set()
        while True:
            decision = self.decide()
            if self.say is not None:
                self._stop(decision)
            wanted = [arm for arm in self._at_rung(decision) if arm not in tried]
            if not wanted:
                break
            tried |= set(wanted)
            selected = [arm for arm in self.own.arms if arm.identity in wanted]
            yield replace(self.own, selected=selected)
        going = [arm for arm in self.plan.selected if decision.until.get(arm.identity, 0) is None]
        if going:
            yield replace(self.plan, selected=going)

    def decide(self) -> Decision:
        """Look at every arm, decide every rung that can be decided, and return what is wanted then."""
        self.standings = self._look()
        while True:
            decision = decide(self.standings, self.screen.rungs, self.screen.keep, self.decided)
            if decision.cut is None:
                return decision
            self.decided[decision.cut.step] = decision.cut
            if self.say is not None:
                self.rungs.write(decision.cut)
                self.decided = self.rungs.decided()  # another process may have been quicker
                self.say(told(self.plan, self.decided[decision.cut.step]))

    def _look(self) -> Mapping[str, Standing]:
        """How far every arm is; an arm with a seed that failed or was cancelled is not waited for."""
        found = {}
        for arm in self.plan.arms:
            values, able = {}, True
            for step in self.screen.rungs:
                replicates = self.replicates[self.owners[arm.identity, step]]
                value = mean_score(replicates, *self.score)
                if value is not None:
                    values[step] = value
                elif any(one.state in OUT_OF_RACE for one in replicates):
                    able = False
            found[arm.identity] = Standing(values, able)
        return found

    def _at_rung(self, decision: Decision) -> list[str]:
        """The evaluations at a rung that selected arms lack, by identity."""
        selected = {arm.identity for arm in self.plan.selected}
        return [
            self.owners[identity, step]
            for identity, step in decision.until.items()
            if step is not None and identity in selected and step not in self.standings[identity].values
        ]

    def _stop(self, decision: Decision) -> None:
        """Write into the run folders of arms that are out why they are stopped."""
        for replicate in (one for one in self.plan.all_replicates if one.identity in decision.out):
            if replicate.state.ended:
                continue
            reason = decision.out[replicate.identity]
            if replicate.desired() is None:
                stop_unbegun(replicate, reason)
            else:
                desire(replicate, "stop", reason=reason)

    def tell_who_waits(self) -> None:
        """Say which arms others have to launch before those that are at a rung can go on."""
        decision, standings = self.decide(), self.standings
        waiting = {identity: step for identity, step in decision.until.items() if step is not None}
        lacking = [own for own, step in waiting.items() if standings[own].able and step not in standings[own].values]
        missing = [arm.name for arm in self.plan.arms if arm.identity in lacking]
        if self.say is not None and missing and len(missing) < len(waiting):
            step = next(iter(waiting.values()))
            self.say(f"screen: those that are at step {step} wait for {listed(missing)}; launch these as well")


def next_of_screen(plan: Plan) -> Plan:
    """Return what a launch of an experiment would launch first: of a screen by a score a rung; writes nothing."""
    if plan.file.experiment.scored_screen is None:
        return plan
    return next(ScoredRace(plan, None).plans(), replace(plan, selected=[]))
