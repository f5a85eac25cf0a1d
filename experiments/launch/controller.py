"""The one loop of every launch, screen and search: a policy says what is to go on, an executor runs it.

All that a policy knows is in files. So the controller can be killed at any moment, and the same command goes on.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from experiments.launch.executor import Executor, RefusedError
from experiments.record import slurm_queue
from experiments.record.lease import Lease
from registry.errors import RunError
from registry.runs.attempts import ATTEMPTS, numbered
from registry.runs.records import State
from registry.runs.replicate import Replicate

Watch = Callable[[Sequence[Replicate], Sequence[State]], None]
POLL_SECONDS = 0.25
MODERATION = 20  # looks at the files of many replicates take at most one part in so many of the time
LONGEST_REST = 30.0  # seconds; a round may also have taken long because data were prepared in it
MOST_REFUSALS = 5  # in a row, and the controller gives up; the same command goes on


class Wants(NamedTuple):
    """What a policy wants of this round.

    Args:
        start: replicates to be submitted, their data prepared.
        shown: replicates that are watched.
        states: of those, as they are now; a submission may have changed them.
        over: nothing more will be wanted.
    """

    start: Sequence[Replicate]
    shown: Sequence[Replicate]
    states: Sequence[State]
    over: bool = False


class Policy(Protocol):
    """Decides which replicates go on: all of them, those of the best arms, or trials of a search."""

    def next(self, executor: Executor) -> Wants:
        """Look at the replicates, write down what is decided, and return what is wanted.

        Args:
            executor: has the data of replicates prepared, and takes away what is no longer wanted.
        """
        ...


@dataclass
class Launched:
    """What a controller did.

    Args:
        todo: the replicates that it was asked for.
        submitted: names of those that it started or submitted.
    """

    todo: list[Replicate]
    submitted: list[str] = field(default_factory=list)


class Controller:
    """Brings what a policy wants to its end.

    Args:
        executor: where trainings run.
        launched: takes note of what is submitted.
        watch: is called with the replicates that are watched, and their states, every round.
        say: takes a line when the executor refuses.
        lease: where only one controller may be at work; it is confirmed every round.
    """

    def __init__(
        self,
        executor: Executor,
        launched: Launched,
        watch: Watch,
        say: Callable[[str], None],
        lease: Lease | None = None,
    ) -> None:
        self.executor, self.launched, self.watch, self.say, self.lease = executor, launched, watch, say, lease
        self._refusals = 0
        self._sent: dict[Path, tuple[int, int]] = {}  # run folder -> attempts when it was first sent, times since then

    def run(self, policy: Policy, rounds: int | None = None) -> None:
        """Do what the policy wants until it wants nothing more.

        Args:
            policy: decides what goes on.
            rounds: stop behind so many, and at the first refusal; None stops at the end.

        Raises:
            RefusedError: the executor has refused, several times in a row where there are rounds enough.
            RunError: the data cannot be prepared, or a replicate's jobs end again and again before they begin.
        """
        once = rounds is not None  # then a refusal is the end: nobody is there to ask again
        while rounds is None or rounds > 0:
            began = time.monotonic()
            try:
                wants = policy.next(self.executor)
            except RefusedError as error:
                self._refused(error, once)
                self._rest(self.executor.pause)
                continue
            took = time.monotonic() - began
            if self._submit(wants.start, once):
                self._refusals = 0
            if wants.shown:
                self.watch(wants.shown, wants.states)
            if wants.over:
                return
            rounds = rounds - 1 if rounds is not None else None
            if rounds != 0:
                moderate = min(MODERATION * took, LONGEST_REST)
                self._rest(max(self.executor.pause, moderate) if self.executor.pause else 0.0)

    def _submit(self, replicates: Sequence[Replicate], once: bool) -> bool:
        """Submit replicates; whether nothing was refused."""
        if not replicates:
            return True
        self._refuse_what_never_begins(replicates)
        try:
            self._note(replicates, self.executor.submit(replicates))
        except RefusedError as error:
            self._note(replicates, error.accepted)
            self._refused(error, once)
            return False
        return True

    def _note(self, replicates: Sequence[Replicate], started: Sequence[str]) -> None:
        """Note the names of the replicates that the executor took."""
        self.launched.submitted += [name for name in started if name not in self.launched.submitted]
        for replicate in replicates:
            if replicate.name in started:
                attempts, times = self._sent.get(replicate.folder, (0, 0))
                self._sent[replicate.folder] = attempts, times + 1

    def _refused(self, error: RefusedError, once: bool) -> None:
        """Say that the executor refuses; the next round tries again."""
        self._refusals += 1
        if once or self._refusals >= MOST_REFUSALS:
            raise error
        self.say(f"{error}; will be tried again")

    def _refuse_what_never_begins(self, replicates: Sequence[Replicate]) -> None:
        """Stop submitting where as many jobs as `runtime.attempts` have ended before the replicate wrote a line.

        What dies after that counts as an attempt, of which a replicate itself knows how many it has.
        """
        for replicate in replicates:
            attempts = len(numbered(replicate.training / ATTEMPTS))
            before, times = self._sent.get(replicate.folder, (attempts, 0))
            if attempts != before:
                times = 0
            if times >= replicate.spec.runtime.attempts:
                submission = replicate.submission()
                job = submission.job if submission else None
                told = slurm_queue.endings([job]).get(job) if job else None
                raise RunError(
                    f"{replicate.name}: {times} jobs in a row ended before it began"
                    f"{f' (the last, {job}: {told})' if told else ''}; `logs` shows what they printed. Other jobs go "
                    "on, and so does the same command"
                )
            self._sent[replicate.folder] = attempts, times

    def _rest(self, seconds: float) -> None:
        """Let the executor move on for so long."""
        if self.lease is not None:
            self.lease.confirm()
        until = time.monotonic() + seconds
        while True:
            self.executor.poll()
            left = until - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(POLL_SECONDS, left))
