"""Job arrays: one a resource shape through submitit, cut to the cluster's size, a training or some in turn a task."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.slurm.slurm import SlurmExecutor

from experiments.launch.executor import RefusedError
from experiments.record.slurm_queue import Cluster, base
from experiments.record.snapshot import Snapshot
from experiments.record.states import Claim, Task, claim, new_token
from experiments.worker.in_turn import InTurn
from experiments.worker.jobs import TrainingTask, VerbTask
from registry.runs.places import LAUNCHES
from registry.runs.replicate import Replicate
from registry.schema.resources import SMALL, Resources, Shape, shape_of

Part = TypeVar("Part")


class _Arrays(SlurmExecutor):
    """submitit's executor, which writes scripts also where there is no srun; whoever submits asks for sbatch first."""

    @classmethod
    def affinity(cls) -> int:
        """Return that it can be used."""
        return 2


@dataclass(frozen=True)
class Chunk:
    """Trainings that become one array.

    Args:
        shape: of each of its tasks.
        tasks: the trainings of each task of the array, which it takes in turn.
        limit: so many tasks at once.
        behind: number of the chunk that it waits for, so that `resources.parallel` holds over several arrays.
        after: a job that must succeed first.
    """

    shape: Shape
    tasks: list[list[Task]]
    limit: int
    behind: int | None
    after: str | None = None

    @property
    def trainings(self) -> list[Task]:
        """All its trainings."""
        return [training for task in self.tasks for training in task]

    @property
    def minutes(self) -> int:
        """The time limit of its tasks: of the longest one's trainings together."""
        return self.shape.minutes_of(max(map(len, self.tasks)))


def chunks(
    tasks: Sequence[Task],
    resources: Resources,
    cluster: Cluster,
    defaults: Shape,
    before: Mapping[Path, str] = MappingProxyType({}),
) -> list[Chunk]:
    """The arrays of a launch: by shape, none longer than the cluster allows, together at most `parallel` tasks at once.

    Args:
        tasks: what is launched.
        resources: of the experiment.
        cluster: says the longest array.
        defaults: what the user's file says of the cluster.
        before: training -> the job that must succeed before it; those that wait for none come first.
    """
    alike: dict[tuple[str, str], tuple[Shape, str | None, list[Task]]] = {}
    for task in tasks:
        shape, after = shape_of(task.replicates[0].arm, resources, defaults), before.get(task.training)
        alike.setdefault((after or "", shape.model_dump_json()), (shape, after, []))[2].append(task)
    cut = [
        (shape, after, array)
        for shape, after, own in sorted(alike.values(), key=lambda found: found[1] is not None)
        for array in _parts(_parts(own, shape.of_a_task), cluster.max_array)
    ]
    # Arrays stand in lanes: those of a lane run one behind the other, and the lanes share out what may run at once.
    lanes = min(len(cut), resources.parallel or len(cut))
    room = _shared_out(resources.parallel, [max(len(own) for _, _, own in cut[lane::lanes]) for lane in range(lanes)])
    found = []
    for number, (shape, after, own) in enumerate(cut):
        behind = number - lanes if number >= lanes else None
        found.append(Chunk(shape, own, min(room[number % lanes], len(own)), behind, after))
    return found


def _shared_out(parallel: int | None, longest: Sequence[int]) -> list[int]:
    """Return how many tasks of each lane run at once: its longest array's at most, all together `parallel`."""
    if parallel is None:
        return list(longest)
    room, left = [0] * len(longest), parallel
    while left and (open_lanes := [lane for lane, most in enumerate(longest) if room[lane] < most]):
        for lane in open_lanes[:left]:
            room[lane] += 1
        left -= len(open_lanes[:left])
    return room


def _parts(of: Sequence[Part], longest: int) -> list[list[Part]]:
    """A sequence cut into parts, none longer than that."""
    return [list(of[first : first + longest]) for first in range(0, len(of), longest)]


class Sent(NamedTuple):
    """An array that was submitted."""

    job: str
    tasks: int
    trainings: int


class SlurmArrays:
    """Submits trainings as job arrays.

    Args:
        folder: of the experiment.
        resources: of the experiment.
        cluster: where they go.
        defaults: what the user's file says of the cluster.
        snapshot: the code that they run.
    """

    name = "slurm"

    def __init__(
        self, folder: Path, resources: Resources, cluster: Cluster, defaults: Shape, snapshot: Snapshot
    ) -> None:
        self.folder, self.resources, self.cluster, self.defaults = folder.resolve(), resources, cluster, defaults
        self.snapshot, self.token = snapshot, new_token()
        self.sent: list[Sent] = []

    @property
    def launch_folder(self) -> Path:
        """Where submitit keeps what it submits, and what Slurm prints."""
        return self.folder / LAUNCHES / self.token

    def submit(self, replicates: Sequence[Replicate], before: Mapping[Path, str] = MappingProxyType({})) -> list[str]:
        """Submit the trainings that can be started and that nobody else submits; return the names of the replicates.

        Args:
            replicates: what is wanted.
            before: as `chunks` takes it.

        Raises:
            RefusedError: sbatch refuses; what was submitted before stays, the rest can be launched again.
        """
        mine = claim(replicates, self.name, self.token)
        todo: list[Chunk] = []
        jobs: list[str] = []
        try:
            todo = chunks(mine, self.resources, self.cluster, self.defaults, before)
            for chunk in todo:
                behind = jobs[chunk.behind] if chunk.behind is not None else None
                jobs.append(self._submit(chunk, behind, {claimed.training: claimed for claimed in mine}))
        except RefusedError as error:
            taken = [training for chunk in todo[: len(jobs)] for training in chunk.trainings]
            error.accepted = tuple(replicate.name for task in taken for replicate in task.replicates)
            raise
        finally:
            for claimed in mine:
                if claimed.submission.content.job is None:  # refused: it waits for nothing
                    claimed.submission.end()
        return [replicate.name for claimed in mine for replicate in claimed.replicates]

    def _submit(self, chunk: Chunk, behind: str | None, mine: dict[Path, Claim]) -> str:
        executor = self.executor(chunk, behind)
        tasks = [[mine[training.training] for training in task] for task in chunk.tasks]
        pairs = [[(str(one.training.resolve()), str(one.submission.number)) for one in task] for task in tasks]
        try:
            if chunk.shape.of_a_task > 1:
                seconds, grace = 60 * chunk.shape.minutes_of(1), chunk.shape.signal_seconds or 0
                jobs = executor.map_array(InTurn(seconds - grace, grace, chunk.shape.at_once), pairs)
            else:
                jobs = executor.map_array(TrainingTask(), *zip(*(own for (own,) in pairs), strict=True))
        except (FailedJobError, FailedSubmissionError) as error:
            raise RefusedError(self._refused(error, chunk.shape)) from None
        for task, job in zip(tasks, jobs, strict=True):
            for claimed in task:
                others = [other.training.resolve() for other in task if other is not claimed]
                claimed.submission.sent(job.job_id, others)
        self.sent.append(Sent(base(jobs[0].job_id), len(jobs), len(chunk.trainings)))
        return self.sent[-1].job

    def submit_verb(self, verb: str, words: Sequence[str], after: str | None = None, log: str = "") -> str:
        """Submit a job that runs the command line, and return its id.

        Args:
            verb: `prepare` or `report`.
            words: what stands behind the verb.
            after: what it depends on, as sbatch's --dependency has it.
            log: the file in the launch's folder that it prints into; left out, the verb's name with `.txt` behind.
        """
        executor = self.verb_executor(verb, after)
        printed = self.launch_folder / (log or f"{verb}.txt")
        try:
            return str(executor.submit(VerbTask(), str(printed), verb, *words).job_id)
        except (FailedJobError, FailedSubmissionError) as error:
            raise RefusedError(self._refused(error, self.verb_shape(verb))) from None

    def verb_shape(self, verb: str) -> Shape:
        """The shape of a job beside the replicates: the experiment's, one process, and what is said of it alone."""
        own = getattr(self.resources, verb)
        return shape_of("", self.resources, self.defaults).below(SMALL).below(own)

    def executor(self, chunk: Chunk, behind: str | None = None) -> SlurmExecutor:
        """submitit's executor of an array."""
        after = [f"afterok:{chunk.after}"] if chunk.after else []
        after += [f"afterany:{behind}"] if behind else []
        return self._executor(chunk.shape, self.folder.name, ",".join(after), chunk.limit, chunk.minutes)

    def verb_executor(self, verb: str, after: str | None = None) -> SlurmExecutor:
        """submitit's executor of a job beside the replicates."""
        shape = self.verb_shape(verb)
        return self._executor(shape, f"{self.folder.name}-{verb}", after or "", 1, shape.minutes_of(1))

    def _executor(self, shape: Shape, name: str, after: str, limit: int, minutes: int) -> SlurmExecutor:
        more: dict[str, Any] = {**(shape.sbatch or {}), "requeue": True}
        if after:
            both = [str(more["dependency"]), after] if more.get("dependency") else [after]
            more |= {"dependency": ",".join(both), "kill-on-invalid-dep": "yes"}
        setup = [
            *(shape.setup or ()),
            *(f"export {name}={shlex.quote(value)}" for name, value in self.snapshot.environment().items()),
            'export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"',
            'export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"  # since Slurm 22.05 srun does not take it over',
        ]
        executor = _Arrays(self.launch_folder, max_num_timeout=2**31)  # runtime.attempts counts, not submitit
        # A process that dies must not leave the others waiting for it.
        srun = [*(["--kill-on-bad-exit=1"] if shape.tasks > 1 else []), *(shape.srun or ())]
        said = {
            "partition": shape.partition, "account": shape.account, "qos": shape.qos, "constraint": shape.constraint,
            "gres": shape.gres, "gpus_per_node": None if shape.gres or not shape.gpus else shape.gpus,
            "mem": shape.memory, "cpus_per_task": shape.cpus, "srun_args": srun or None,
        }  # fmt: skip
        parameters = {
            "job_name": name, "comment": self.token, "time": minutes, "nodes": shape.nodes,
            "ntasks_per_node": shape.tasks_per_node, "signal_delay_s": shape.signal_seconds, "setup": setup,
            "array_parallelism": limit, "wckey": shape.wckey, "additional_parameters": more,
        }  # fmt: skip
        executor.parameters = {**parameters, **{name: value for name, value in said.items() if value is not None}}
        return executor

    def _refused(self, error: Exception, shape: Shape) -> str:
        text = " ".join(line.strip() for line in str(error).splitlines() if "error" in line.lower()) or str(error)
        said = {name: value for name, value in shape.model_dump().items() if value not in (None, 0)}
        return f"sbatch refuses: {text}; resources were {said}; {len(self.sent)} arrays were submitted before"


def script(executor: SlurmExecutor, tasks: int = 1) -> str:
    """The batch script that an executor would submit, for an array of so many tasks."""
    if tasks > 1:
        executor.parameters["map_count"] = tasks
    text: str = executor._make_submission_file_text(executor._submitit_command_str, "dry-run")
    return text
