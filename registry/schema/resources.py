"""What a replicate may use of a cluster or a machine: never part of the identity.

From the least to the most particular: the built-in values, the user's file of clusters, `resources` of the experiment,
`resources.arms` by pattern of the arm's name, and `resources.prepare` or `resources.report` for these two jobs.
"""

import re
from fnmatch import fnmatchcase
from typing import Annotated, Any

from pydantic import Field, field_validator

from registry.errors import SpecError
from registry.schema.parameter_types import Count, PositiveFloat
from registry.schema.section import Section

Nodes = Annotated[int, Field(gt=0, le=100_000)]
OfANode = Annotated[int, Field(gt=0, le=4096)]
_SPAN = re.compile(r"(?:(\d{1,4})-)?(\d{1,6}):(\d\d):(\d\d)|(\d{1,6}(?:\.\d{1,6})?)\s*(m|min|h|d)")


def minutes(text: str) -> int:
    """A span of time in minutes, rounded up: 4h, 90m, 1d, HH:MM:SS or D-HH:MM:SS."""
    found = _SPAN.fullmatch(text)
    assert found is not None, "validated"
    days, hours, mins, seconds, number, unit = found.groups()
    if number:
        return -int(-float(number) * {"m": 1, "min": 1, "h": 60, "d": 1440}[unit] // 1)
    return int(days or 0) * 1440 + int(hours) * 60 + int(mins) + (int(seconds) > 0)


def bytes_of(text: str) -> int:
    """Return a size such as 64G or 500M in bytes; without a letter it is in megabytes, as Slurm reads it."""
    number = text.rstrip("B").rstrip("KMGT")
    letter = text[len(number) : len(number) + 1]
    return int(number) * 1024 ** (" KMGT".index(letter) if letter in "KMGT" and letter else 2)


class Shape(Section):
    """What one job needs; replicates of one shape share an array. Everything left out is decided further up."""

    partition: str | None = None
    """Slurm's partition, or several with commas."""
    account: str | None = None
    """Slurm's account."""
    qos: str | None = None
    """Slurm's quality of service."""
    constraint: str | None = None
    """Features that nodes must have."""
    wckey: str | None = None
    """Slurm's workload key; submitit's own is left out, since some clusters refuse it."""
    nodes: Nodes | None = None
    """Nodes of one replicate."""
    tasks_per_node: OfANode | None = None
    """Processes of a node that train together; left out: one a GPU."""
    replicates_per_task: OfANode | None = None
    """Replicates that one Slurm task takes in turn, each in a process of its own; left out: one. `time` is that of one,
    and the task's is so many times as long."""
    replicates_per_gpu: OfANode | None = None
    """Small replicates that share one GPU at once, each in a process of its own; left out: one. A Slurm task takes as
    many, or as many as replicates_per_task says, so many of them at once."""
    gpus: Annotated[int, Field(ge=0, le=4096)] | None = None
    """GPUs of a node."""
    gres: str | None = None
    """Where the cluster wants GPUs named so, such as gpu:a100:2."""
    cpus: OfANode | None = None
    """Cores of a task."""
    memory: str | None = None
    """Memory of a node, such as 64G; an arm whose training step needs more of it is refused."""
    gpu_memory: str | None = None
    """Memory of one GPU, such as 80G, where it is known: an arm whose training step needs more is refused."""
    time: str | None = None
    """Such as 4h, 90m, 12:00:00 or 2-00:00:00; a job that is out of time goes on in the next."""
    signal_seconds: Annotated[int, Field(gt=0, le=86_400)] | None = None
    """So long before the end of its time a job is asked to write its checkpoint."""
    setup: tuple[str, ...] | None = None
    """Lines of the batch script before the job, such as `module load cuda`."""
    sbatch: dict[str, Any] | None = None
    """Further sbatch options, such as {reservation: lab}."""
    srun: tuple[str, ...] | None = None
    """Further words for srun."""

    @field_validator("time")
    @classmethod
    def _span(cls, value: str | None) -> str | None:
        if value is not None and (_SPAN.fullmatch(value) is None or minutes(value) < 1):
            raise ValueError("expected a time of a minute or more such as 4h, 90m, 12:00:00 or 2-00:00:00")
        return value

    @field_validator("memory", "gpu_memory")
    @classmethod
    def _size(cls, value: str | None) -> str | None:
        if value is not None and re.fullmatch(r"\d+[KMGT]?B?", value) is None:
            raise ValueError("expected a size such as 64G or 500M")
        return value

    @field_validator("sbatch")
    @classmethod
    def _requeued(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        for name in value or {}:
            if name.replace("_", "-") in ("requeue", "no-requeue"):
                raise ValueError(f"leave {name} out: every job has --requeue, so that one out of time can go on")
        return value

    def below(self, more: "Shape | None") -> "Shape":
        """This shape with what a more particular one says."""
        said = {name: value for name in Shape.model_fields if (value := getattr(more, name, None)) is not None}
        if self.sbatch and "sbatch" in said:
            said["sbatch"] = {**self.sbatch, **said["sbatch"]}
        if "gres" in said and "gpus" not in said:
            said["gpus"] = _gpus_of(said["gres"])
        return Shape(**{name: getattr(self, name) for name in Shape.model_fields} | said)

    @property
    def tasks(self) -> int:
        """Processes of one replicate."""
        return (self.nodes or 1) * (self.tasks_per_node or 1)

    @property
    def at_once(self) -> int:
        """Replicates that share a GPU."""
        return self.replicates_per_gpu or 1

    @property
    def of_a_task(self) -> int:
        """Replicates that one task takes at most, in turn or at once."""
        return self.replicates_per_task or self.at_once

    def minutes_of(self, replicates: int) -> int:
        """Return the time limit of a task that takes so many replicates."""
        return -(-replicates // self.at_once) * minutes(self.time or "")

    @property
    def devices(self) -> int:
        """GPUs of one replicate, or 1 where it has none: what an hour of it counts in GPU-hours."""
        return (self.nodes or 1) * max(self.gpus or 0, 1)


def _gpus_of(gres: str) -> int:
    """The GPUs that a gres asks for: 2 for gpu:a100:2, 1 for gpu."""
    counts = [item.split("(")[0].split(":")[1:] for item in gres.split(",") if item.split(":")[0] == "gpu"]
    return sum(int(words[-1]) if words and words[-1].isdigit() else 1 for words in counts)


BUILT_IN = Shape(nodes=1, gpus=0, cpus=1, time="4h", signal_seconds=120)
SMALL = Shape(
    nodes=1, tasks_per_node=1, replicates_per_task=1, replicates_per_gpu=1
)  # the jobs beside the replicates have one process


class Resources(Shape):
    """The `resources` of an experiment: a shape for all its jobs, exceptions, and how much at once."""

    parallel: Count | None = None
    """Replicates at once; left out: one on this machine, no limit on a cluster."""
    tflops: PositiveFloat = 120.0
    """Sustained TFLOP/s of one GPU, for the GPU-hours of `plan`."""
    arms: dict[str, Shape] = Field(default_factory=dict)
    """Other resources for arms, by fnmatch pattern of their names; later patterns prevail."""
    prepare: Shape | None = None
    """The job that prepares the data, where the replicates' resources do not suit it."""
    report: Shape | None = None
    """The job that follows all replicates."""


def shape_of(arm: str, resources: Resources, cluster: Shape) -> Shape:
    """The shape of an arm's replicates on a cluster.

    Raises:
        SpecError: a job would be told that its time is up before it has begun, or replicates of several processes are
            to be taken in turn.
    """
    shape = BUILT_IN.below(cluster).below(resources)
    for pattern, own in resources.arms.items():
        if fnmatchcase(arm, pattern):
            shape = shape.below(own)
    if 60 * minutes(shape.time or "") <= (shape.signal_seconds or 0):
        raise SpecError(
            f"resources: time {shape.time} is no longer than signal_seconds {shape.signal_seconds}: a job would be "
            "told to write its checkpoint as soon as it begins; give it more time"
        )
    shape = shape if shape.tasks_per_node else shape.below(Shape(tasks_per_node=max(1, shape.gpus or 0)))
    for key, number, how in (
        ("replicates_per_gpu", shape.at_once, "share a GPU"),
        ("replicates_per_task", shape.of_a_task, "are taken in turn"),
    ):
        if number > 1 and shape.tasks > 1:
            raise SpecError(
                f"resources.{key} {number}: {arm or 'a replicate'} has {shape.tasks} processes, and only replicates of "
                f"one process {how}; leave it out, or set tasks_per_node to 1"
            )
    return shape
