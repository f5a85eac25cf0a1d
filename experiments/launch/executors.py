"""The executors behind one contract, for controllers that submit again and again: `search` and `screen`."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from experiments.launch.launching import Executor, closing_on_signals
from experiments.launch.local_pool import LocalPool
from experiments.launch.slurm_launch import arrays_of
from experiments.plan.plan import Plan
from experiments.record import slurm_queue
from experiments.record.progress import Progress
from experiments.record.recording import desire
from experiments.record.snapshot import Snapshot, freeze
from experiments.record.states import states
from experiments.worker.run import run_training
from registry.errors import Interrupted, RunError
from registry.runs.attempts import ATTEMPTS, numbered
from registry.runs.records import State
from registry.runs.run_folder import Replicate, wanted

MOST_REFUSALS = 5  # in a row, and a controller gives up; the same command goes on


class InProcess:
    """Runs replicates in this process, one behind the other; the first failure is raised.

    Args:
        progress: is called with (what, done, in all).
    """

    name = "debug"

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def submit(self, replicates: Sequence[Replicate]) -> list[str]:
        """Run those that can be started, to their end or to where they are to pause."""
        started = []
        for replicate in replicates:
            if replicate.state.startable:  # an earlier one may have made it, since they share a training
                started.append(replicate.name)
                with contextlib.suppress(Interrupted):
                    run_training(replicate.training, self.progress)
                if replicate.state.startable:
                    raise Interrupted(f"{replicate.name}: stopped; the same command goes on")
        return started


class Controlled:
    """An executor as a controller uses it.

    Args:
        executor: where replicates run.
        snapshot: the code that they run.
        pause: seconds between two looks at them.
        say: takes a line when the executor refuses.
    """

    def __init__(self, executor: Executor, snapshot: Snapshot, pause: float, say: Callable[[str], None]) -> None:
        self.executor, self.snapshot, self.pause, self.say = executor, snapshot, pause, say
        self._refusals = 0
        self._sent: dict[Path, tuple[int, int]] = {}  # run folder -> attempts when it was first sent, times since then

    def submit(self, replicates: Sequence[Replicate]) -> list[str]:
        """As the executor's, but a refusal is told and tried again in the next round.

        Raises:
            RunError: it has refused several times in a row, or a replicate's jobs end again and again before it begins.
        """
        if isinstance(self.executor, InProcess):
            return self.executor.submit(replicates)
        self._refuse_what_never_begins(replicates)
        try:
            started = self.executor.submit(replicates)
        except RunError as error:
            self._refusals += 1
            if self._refusals >= MOST_REFUSALS:
                raise
            self.say(f"{error}; will be tried again")
            return []
        self._refusals = 0
        for replicate in replicates:
            if replicate.name in started:
                attempts, times = self._sent.get(replicate.folder, (0, 0))
                self._sent[replicate.folder] = attempts, times + 1
        return started

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

    def poll(self) -> None:
        """Let a local pool move on."""
        if isinstance(self.executor, LocalPool):
            self.executor.poll()


@contextlib.contextmanager
def controlled(
    plan: Plan, executor: str, at_once: int, progress: Progress, say: Callable[[str], None]
) -> Iterator[Controlled]:
    """An executor by its name, closed when the block ends; what runs on Slurm goes on.

    Args:
        plan: whose resources count.
        executor: local, slurm or debug.
        at_once: replicates at once on this machine where `resources.parallel` says nothing.
        progress: of `debug`.
        say: takes a line when the executor refuses.

    Raises:
        RunError: there is no Slurm, or it does not answer.
    """

    def frozen() -> Snapshot:
        return freeze(plan.runs, plan.file.path, bool(plan.file.experiment.plugins))

    resources = plan.file.experiment.resources
    if executor == "slurm":
        arrays = arrays_of(plan, frozen)
        yield Controlled(arrays, arrays.snapshot, 5.0, say)
    elif executor == "debug":
        yield Controlled(InProcess(progress), frozen(), 0.0, say)
    else:
        snapshot = frozen()
        own = resources.model_copy(update={"parallel": resources.parallel or at_once})
        pool = LocalPool(own, snapshot)
        with closing_on_signals(pool):
            yield Controlled(pool, snapshot, 0.5, say)
            while pool.busy:  # what was told to stop is ending
                pool.poll()
                time.sleep(0.1)


def stop_for_good(replicates: Sequence[Replicate], reason: str) -> None:
    """End replicates that must never run again: running ones see it themselves, jobs that wait are taken away."""
    now = states(replicates)
    for replicate, state in zip(replicates, now, strict=True):
        if not state.ended:
            desire(replicate, "stop", reason=reason)
    waiting = [replicate for replicate, state in zip(replicates, now, strict=True) if state is State.QUEUED]
    sent = [replicate.submission() for replicate in waiting if not wanted(replicate.training)]
    jobs = [submission.job for submission in sent if submission and submission.job]
    with contextlib.suppress(RunError):  # a job that is left finds the wish when it begins
        slurm_queue.cancel(jobs)
