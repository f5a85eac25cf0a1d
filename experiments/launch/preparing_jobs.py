"""The Slurm jobs that prepare data before trainings, since a launch may come from a login node."""

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from experiments.launch.early_floors import early_floors, mark_of, measured_for
from experiments.launch.frozen_file import frozen_words
from experiments.launch.preparing import shared_by
from experiments.launch.slurm_arrays import SlurmArrays
from experiments.plan.plan import Plan
from experiments.record import slurm_queue
from experiments.record.recording import bind_data, bound_data
from registry.errors import RunError
from registry.runs.records import PreparedData
from registry.runs.replicate import Replicate, open_replicate


@dataclass(frozen=True)
class _Job:
    """A job that prepares data.

    Args:
        name: its id.
        log: what it prints into.
        trainings: the folders that it will note the prepared data in.
        shared: what the data of these follow from.
    """

    name: str
    log: Path
    trainings: frozenset[Path]
    shared: frozenset[str]


class PreparingJobs:
    """The jobs that prepare data, one for replicates that are asked for together or share their data.

    Args:
        arrays: submits them.
        say: takes a line for each.
    """

    def __init__(self, arrays: SlurmArrays, say: Callable[[str], None]) -> None:
        self.arrays, self.say = arrays, say
        self._jobs: list[_Job] = []
        self.sent: list[dict[str, str]] = []  # every job and the file in the launch's folder that it prints into

    @staticmethod
    def lacking(plan: Plan, replicates: Sequence[Replicate], known: Set[Path] = frozenset()) -> list[Replicate]:
        """Return those of the replicates for which something has still to be prepared: their data, or early floors.

        Args:
            plan: of the experiment.
            replicates: which are looked at.
            known: trainings whose data are there, though nothing is noted of it yet.
        """
        without = unprepared(replicate.training for replicate in replicates) - known
        if not early_floors(plan):
            return [replicate for replicate in replicates if replicate.training in without]
        measured = measured_for(plan)
        return [one for one in replicates if one.training in without or mark_of(shared_by(one.spec)) not in measured]

    def before(self, trainings: Iterable[Path]) -> dict[Path, str]:
        """Return the job that has to end well before a training begins, for those whose data are not there."""
        queue = slurm_queue.ask(job.name for job in self._jobs)  # before files are looked at
        newest = {training: job.name for job in self._jobs for training in job.trainings}
        waiting = {training: newest[training] for training in unprepared(trainings) if training in newest}
        return {training: job for training, job in waiting.items() if queue.hint(job) != ""}

    def prepare(self, plan: Plan, replicates: Sequence[Replicate]) -> list[Replicate]:
        """Send a job for what is lacking and in no job yet; return the replicates that may be submitted now.

        Data that are there already, because a replicate of the experiment shares them, are noted and need no job.

        Raises:
            RunError: a job has ended without preparing them.
            RefusedError: sbatch refuses the job.
        """
        if not self.lacking(plan, replicates):
            return list(replicates)
        # Slurm is asked before files are looked at, since a job may end in between.
        queue = slurm_queue.ask(job.name for job in self._jobs)
        lacking = self.lacking(plan, replicates)
        there = {replicate.training for replicate in replicates} - {replicate.training for replicate in lacking}
        pending: set[str] = set()
        for job in list(self._jobs):
            if queue.hint(job.name) != "":
                pending |= job.shared
                there |= job.trainings
            elif any(replicate.training in job.trainings for replicate in lacking):
                self._confirm(job)
                there |= job.trainings  # another machine may see what it wrote a little before this one does
        new = [one for one in lacking if one.training not in there and shared_by(one.spec) not in pending]
        there |= _bind_as_others(plan, new)
        there |= self._send(plan, self.lacking(plan, new))
        return [replicate for replicate in replicates if replicate.training in there]

    def _confirm(self, job: _Job) -> None:
        """Return if a job that is over has prepared its data.

        Raises:
            RunError: it has not; the next time another job is sent.
        """
        told = slurm_queue.endings([job.name]).get(job.name)
        if told is None or told.state != "COMPLETED":
            self._jobs.remove(job)
            raise RunError(slurm_queue.failed_beside("prepares the data", job.name, told, job.log))

    def _send(self, plan: Plan, replicates: Sequence[Replicate]) -> set[Path]:
        """Submit the job that prepares the data of replicates; their trainings."""
        if not replicates:
            return set()
        words = frozen_words(plan, self.arrays.launch_folder)
        words += [word for pattern in plan.only for word in ("--only", pattern)]
        words += [word for pattern in plan.folders for word in ("--folder", pattern)]
        trainings = frozenset(replicate.training for replicate in replicates)
        shared = frozenset(shared_by(replicate.spec) for replicate in replicates)
        log = f"prepare-{len(self.sent) + 1}.txt" if self.sent else "prepare.txt"
        job = _Job(
            self.arrays.submit_verb("prepare", words, log=log), self.arrays.launch_folder / log, trainings, shared
        )
        self._jobs.append(job)
        self.sent.append({"job": job.name, "log": log})
        self.say(f"submitted {job.name}: prepares the data")
        return set(trainings)


def unprepared(trainings: Iterable[Path]) -> set[Path]:
    """Return those of which it is not noted what data they have."""
    return {training for training in trainings if bound_data(training) is None}


def known_of_others(plan: Plan, replicates: Sequence[Replicate]) -> dict[Path, PreparedData]:
    """Return the data of trainings that say nothing of them, as another of the experiment with the same data does."""
    trainings = unprepared(replicate.training for replicate in replicates)
    unbound: dict[str, list[Path]] = {}
    for replicate in replicates:
        if replicate.training in trainings:
            unbound.setdefault(shared_by(replicate.spec), []).append(replicate.training)
    known = _bound_alike(plan, unbound.keys())
    return {training: data for shared, data in known.items() for training in unbound[shared]}


def _bind_as_others(plan: Plan, replicates: Sequence[Replicate]) -> set[Path]:
    """Note the data of replicates as a training of the experiment with the same data has them; which are noted now."""
    noted = known_of_others(plan, replicates)
    for training, data in noted.items():
        bind_data(training, data)
    return set(noted)


def _bound_alike(plan: Plan, wanted: Set[str]) -> dict[str, PreparedData]:
    """What the experiment's trainings say of their data, by what these follow from, as far as that is wanted."""
    known: dict[str, PreparedData] = {}
    for path in sorted(plan.folder.glob("*/seed-*")) if wanted else ():
        if known.keys() == wanted:
            break
        try:
            if (data := bound_data(path / "training")) is None:
                continue
            replicate = open_replicate(path)
        except RunError:  # of another version
            continue
        if (shared := shared_by(replicate.spec)) in wanted:
            known.setdefault(shared, data)
    return known
