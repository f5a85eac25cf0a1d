"""The executor `slurm`: arrays of trainings, jobs that prepare their data before them, and one that reports behind."""

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Self

from experiments.launch.executor import ExecutorOptions, RefusedError, freeze_code
from experiments.launch.frozen_file import frozen_words
from experiments.launch.preparing_jobs import PreparingJobs, known_of_others, unprepared
from experiments.launch.report import is_overridden
from experiments.launch.slurm_arrays import SlurmArrays, chunks, script
from experiments.plan.plan import Plan
from experiments.plan.resolved_experiment import digest
from experiments.record import slurm_queue
from experiments.record.recording import write_json
from experiments.record.slurm_queue import DEFAULT_MAX_ARRAY, Cluster
from experiments.record.snapshot import FOLDER as CODE
from experiments.record.snapshot import Snapshot
from experiments.record.states import job_of_others, tasks_of
from registry.errors import RunError, SpecError
from registry.experiment.clusters import cluster_defaults
from registry.runs.replicate import Replicate
from registry.runs.resolved_experiment import place_of
from registry.schema.resources import Shape, shape_of


class SlurmJobs:
    """Runs trainings as jobs, which go on without this process.

    Args:
        plan: whose resources and report count.
        arrays: submits them.
        say: takes a line for each job that is submitted, and when a job is waited for.
        reports: whether a job behind the arrays writes the report.
    """

    name = "slurm"
    pause = 5.0
    detached = True

    def __init__(self, plan: Plan, arrays: SlurmArrays, say: Callable[[str], None], reports: bool) -> None:
        self.plan, self.arrays, self.say, self.reports = plan, arrays, say, reports
        self.snapshot = arrays.snapshot
        self.preparing = PreparingJobs(arrays, say)
        self.report: str | None = None  # the job that reports
        self._report_due = False  # there are arrays without one behind them, such as when sbatch refused it
        self._ask_again = 0.0  # by the clock of `time.monotonic`

    @classmethod
    def open(cls, plan: Plan, options: ExecutorOptions) -> Self:
        """Return the executor of a plan.

        Raises:
            RunError: Slurm does not answer.
            SpecError: the user's file of clusters is wrong, or tasks would take longer than their partition lets them.
        """
        cluster = slurm_queue.cluster()
        defaults = cluster_defaults(cluster.name)
        refuse_too_long(plan, defaults)
        snapshot = freeze_code(plan)
        arrays = SlurmArrays(plan.folder, plan.file.experiment.resources, cluster, defaults, snapshot)
        return cls(plan, arrays, options.say, options.reports)

    @staticmethod
    def defaults() -> Shape | None:
        """Return what the user's file says of the cluster that sbatch here submits to."""
        return cluster_defaults(slurm_queue.cluster().name)

    @staticmethod
    def preview(plan: Plan, replicates: Sequence[Replicate]) -> list[str]:
        """Return the batch scripts that `launch` would submit; where no Slurm answers, those of an assumed cluster."""
        texts = []
        try:
            cluster = slurm_queue.cluster()
        except RunError as error:
            cluster = Cluster("", DEFAULT_MAX_ARRAY)
            texts.append(
                f"# {error}\n# assumed: arrays of at most {cluster.max_array} tasks, no defaults of the cluster"
            )
        defaults, resources = cluster_defaults(cluster.name), plan.file.experiment.resources
        refuse_too_long(plan, defaults)
        snapshot = Snapshot((plan.runs / CODE / "TREE").resolve(), "", False)
        arrays = SlurmArrays(plan.folder, resources, cluster, defaults, snapshot)
        if not replicates:
            return [*texts, "nothing to submit"]
        known = known_of_others(plan, replicates).keys()
        if PreparingJobs.lacking(plan, replicates, known):
            texts.append(f"# a job that prepares the data\n{script(arrays.verb_executor('prepare'))}")
        tasks = tasks_of(replicates)
        waiting = unprepared(task.training for task in tasks) - known
        before = dict.fromkeys(waiting, "PREPARE")
        cut = chunks(tasks, resources, arrays.cluster, arrays.defaults, before)
        for number, chunk in enumerate(cut):
            behind = f"ARRAY{chunk.behind}" if chunk.behind is not None else None
            count, trainings = len(chunk.tasks), chunk.trainings
            names = ", ".join(training.name for training in trainings[:3]) + (", …" if len(trainings) > 3 else "")
            about = f"# ARRAY{number}: {counted(count, len(trainings))}: {names}"
            texts.append(f"{about}\n{script(arrays.executor(chunk, behind), count)}")
        after = "afterany:" + ":".join(f"ARRAY{number}" for number in range(len(cut)))
        texts.append(f"# a job that reports when they have ended\n{script(arrays.verb_executor('report', after))}")
        return texts

    def prepare(self, plan: Plan, replicates: Sequence[Replicate]) -> list[Replicate]:
        """Send jobs for data that are not there, and return the replicates that may stand behind these in the queue."""
        return self.preparing.prepare(plan, replicates)

    def submit(self, replicates: Sequence[Replicate]) -> list[str]:
        """Submit arrays of the trainings that can be started, and one job that reports behind them.

        Raises:
            RefusedError: sbatch refuses an array, or the job that reports; the arrays before it go on.
        """
        sent_before = len(self.arrays.sent)
        refused: RefusedError | None = None
        try:
            before = self.preparing.before({replicate.training for replicate in replicates})
            names = self.arrays.submit(replicates, before)
        except RefusedError as error:
            refused, names = error, list(error.accepted)
        new = self.arrays.sent[sent_before:]
        for sent in new:
            self.say(f"submitted {sent.job}: {counted(sent.tasks, sent.trainings)}")
        if new:
            self._note()
            self._report_due = self.reports
        try:
            self._report_behind()
        except RefusedError as error:
            refused = refused or error
        if refused is not None:
            raise RefusedError(str(refused), names)
        return names

    def _report_behind(self) -> None:
        """Submit the job that reports behind all arrays, if one is due.

        Raises:
            RefusedError: sbatch refuses it; it stays due.
        """
        if not self._report_due:
            return
        after = f"afterany:{':'.join(sent.job for sent in self.arrays.sent)}"
        words = frozen_words(self.plan, self.arrays.launch_folder)
        words += ["--overridden"] if is_overridden(self.plan) else []
        self.report = self.arrays.submit_verb("report", words, after)
        self._report_due = False
        place = place_of(self.plan.folder, digest(self.plan))
        self.say(f"submitted {self.report}: reports when they have ended, in {place}")
        self._note()

    def _note(self) -> None:
        """Note in the launch's folder what was submitted, for `status`."""
        arrays = [sent._asdict() for sent in self.arrays.sent]
        about = {"prepare": self.preparing.sent, "arrays": arrays, "report": self.report}
        write_json(self.arrays.launch_folder / "launch.json", about)

    def poll(self) -> None:
        """Ask again for the job that reports where sbatch refused it; everything else moves on of itself."""
        if self._report_due and time.monotonic() >= self._ask_again:
            self._ask_again = time.monotonic() + self.pause
            with contextlib.suppress(RefusedError):
                self._report_behind()

    def cancel(self, replicates: Sequence[Replicate]) -> None:
        """Take the jobs of replicates out of the queue; one that is left finds out when it begins."""
        sent = [(replicate.training, replicate.submission()) for replicate in replicates]
        jobs = [(training, submission.job) for training, submission in sent if submission and submission.job]
        with contextlib.suppress(RunError):
            slurm_queue.cancel(job for training, job in jobs if not job_of_others(job, training))

    def close(self, finished: bool) -> None:
        """Wait for the job that reports, if everything else has ended.

        Raises:
            RefusedError: sbatch refuses that job to the end; `report` does the same here.
        """
        if finished:
            self._report_behind()
        if finished and self.report is not None and slurm_queue.hint(self.report) != "":
            self.say(f"waiting for the job that reports, {self.report}")
            while slurm_queue.hint(self.report) != "":
                time.sleep(2.0)


def refuse_too_long(plan: Plan, cluster: Shape) -> None:
    """Refuse tasks that would wait for ever, since their time is above the limit of their partition.

    A quality of service may lift that limit, so where one is stated Slurm decides.

    Raises:
        SpecError: with the shape of each such arm.
    """
    limits = slurm_queue.time_limits()
    lines: dict[str, list[str]] = {}
    for arm in plan.selected:
        shape = shape_of(arm.name, plan.file.experiment.resources, cluster)
        longest = [limits.get(name) for name in (shape.partition or "").split(",")]
        most = None if None in longest else max(found for found in longest if found is not None)
        if shape.qos or most is None or shape.minutes_of(shape.of_a_task) <= most:
            continue
        how = "in turn" if shape.at_once == 1 else f"{shape.at_once} at once"
        turns = (
            f"{shape.of_a_task} replicates of {shape.time} {how} take" if shape.of_a_task > 1 else "a replicate takes"
        )
        remedy = (
            f"at most {shape.at_once * (most // shape.minutes_of(1))} fit"
            if shape.of_a_task > 1
            else "a job out of time goes on anew"
        )
        text = (
            f"resources.time: {turns} {shape.minutes_of(shape.of_a_task):,} minutes, and partition "
            f"{shape.partition or '(the default)'} ends jobs after {most:,}: {remedy}"
        )
        lines.setdefault(text, []).append(arm.name)
    if lines:
        raise SpecError([plan.file.line(text, arms, len(plan.selected)) for text, arms in lines.items()])


def counted(tasks: int, trainings: int) -> str:
    """How many trainings an array has, and in how many tasks where these take several in turn."""
    return f"{trainings} trainings" + (f" in {tasks} task{'s' * (tasks != 1)}" if tasks != trainings else "")
