"""Seeds that are added until claims are decided: the first ones of every arm, then more for arms of open claims.

Claims are judged by `verdict`'s own rule when nothing waits or runs any more. Each decision is a numbered file, written
before it is acted on, and says which seeds every arm has from then on. So the controller can be killed and the same
command goes on: the same results give the same decisions.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from analysis.verdicts.until_decided import claim_then, seeds_wanted
from experiments.launch.controller import Launched, Wants
from experiments.launch.executor import Executor
from experiments.launch.launching import make_run_folders
from experiments.plan.plan import Plan
from experiments.plan.reading import answers_of
from experiments.record.states import states
from experiments.search.watched import Watching, launch_watched, listed
from registry.runs.given_seeds import FOLDER, GivenSeeds, read_given, write_given
from registry.runs.records import State


def launch_until_decided(plan: Plan, executor: str, told: Watching) -> Launched:
    """Run the selected arms with as many seeds as the experiment's claims need, and return when all is decided.

    Claims are about all arms of the file, whatever is selected: those of arms that others have to launch wait.

    Args:
        plan: what to launch.
        executor: local, slurm or debug.
        told: who is told how it gets on.

    Raises:
        RunError: another process is running it; the data cannot be prepared; the executor refuses again and again; or
            scores cannot be compared.
        SpecError: the plan is wrong.
    """
    launched, policy = launch_watched(
        plan, executor, plan.folder / FOLDER, lambda launched: AddingSeeds(plan, launched, told.say), told
    )
    policy.tell_who_waits()
    return launched


class AddingSeeds:
    """The policy: whenever nothing waits or runs, claims are judged, and arms of open ones are given more seeds.

    Args:
        plan: what is launched.
        launched: the selected replicates, with those of seeds that are added.
        say: takes a line for each decision.
    """

    def __init__(self, plan: Plan, launched: Launched, say: Callable[[str], None]) -> None:
        design = plan.file.experiment.until_decided
        assert design is not None, "called for experiments that have one"
        self.plan, self.design, self.launched, self.say = plan, design, launched, say
        self.whole = replace(plan, selected=plan.arms)
        self.todo = self.whole.work
        self.identities = {arm.name: arm.identity for arm in plan.arms}

    def next(self, executor: Executor) -> Wants:
        """Start what the arms were given; where nothing waits or runs any more, look at the claims."""
        by_folder = self._states()
        while not self._going(by_folder) and self._decide():
            self.launched.todo[:] = make_run_folders(self.plan, executor.snapshot.about())
            self.todo = self.whole.work
            by_folder = self._states()
        selected = self.launched.todo
        left = [replicate for replicate in selected if by_folder[replicate.folder].startable]
        start = executor.prepare(self.plan, left) if left else []
        return Wants(
            start, selected, [by_folder[replicate.folder] for replicate in selected], over=not self._going(by_folder)
        )

    def _states(self) -> dict[Path, State]:
        """Run folder -> state, of every replicate that is expected now."""
        return dict(zip((replicate.folder for replicate in self.todo), states(self.todo), strict=True))

    def _going(self, by_folder: dict[Path, State]) -> bool:
        """Whether anything waits or runs, or is to be started by this process."""
        startable = any(by_folder[replicate.folder].startable for replicate in self.launched.todo)
        return startable or any(state.active for state in by_folder.values())

    def _decide(self) -> bool:
        """Judge the claims, and write down what follows; whether that was anything new."""
        before = read_given(self.plan.folder)
        answers = answers_of(self.whole)
        wanted = seeds_wanted(answers)
        expected = self.plan.seeds_by_identity()
        given = {own: len(expected[own]) for own in self.identities.values()}
        for arm, number in wanted.items():
            own = self.identities[arm]
            given[own] = max(given[own], number)
        claims = tuple(claim_then(answer, self.identities) for answer in answers)
        made = GivenSeeds(time=time.time(), design=self.design, given=given, claims=claims)
        if before and (before[-1].design, before[-1].given, before[-1].claims) == (made.design, given, claims):
            return False
        try:
            write_given(self.plan.folder, made)
        except FileExistsError:
            return True  # another process was quicker, and its decision stands
        self._tell(made, sum(given[own] > len(expected[own]) for own in given))
        return True

    def _tell(self, made: GivenSeeds, grown: int) -> None:
        for claim in made.claims:
            self.say(f"seeds: {claim.says}: {claim.told}")
        if grown:
            self.say(f"seeds: {grown} of {len(made.given)} arms are given more, up to {max(made.given.values())}")

    def tell_who_waits(self) -> None:
        """Say which arms others have to launch before claims can be judged."""
        missing = [one.arm for one, state in zip(self.todo, states(self.todo), strict=True) if state.startable]
        names = listed(list(dict.fromkeys(missing)))
        if names:
            self.say(f"seeds: claims are about all arms of the file, and wait for {names}; launch these as well")
