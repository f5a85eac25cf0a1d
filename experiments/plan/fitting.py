"""Whether a training step of each arm fits the memory that is stated for its jobs, told before anything is queued."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from experiments.plan.plan import Plan
from registry.errors import SpecError
from registry.experiment.arm import Arm
from registry.schema.resources import Shape, bytes_of, shape_of
from registry.schema.spec import Spec

if TYPE_CHECKING:
    from experiments.plan.step_memory import StepMemory

# Assumed bytes of a process beside its tensors, low on purpose: 575 MB were resident with torch and the worker loaded,
# part of them pages of libraries that the system can drop. A GPU's context was not measured.
PROCESS = 400_000_000


@dataclass(frozen=True)
class Place:
    """Where an arm's step is computed.

    Args:
        gpu: whether on GPUs.
        world: processes that share the batch.
        sharing: processes of a node, or of a GPU, that share the stated memory.
        key: which of the resources states it.
        stated: it, such as 80G; None where nothing is.
    """

    gpu: bool
    world: int
    sharing: int
    key: str
    stated: str | None

    def needed(self, memory: "StepMemory") -> int:
        """Return the bytes that must be there."""
        return self.sharing * (memory.peak + PROCESS)

    def fits(self, memory: "StepMemory") -> bool:
        """Return whether the stated memory suffices, if any is stated."""
        return self.stated is None or self.needed(memory) <= bytes_of(self.stated)


def place_of(arm: Arm, plan: Plan, cluster: Shape | None = None) -> Place:
    """Return where an arm's step is computed.

    Args:
        arm: one of the plan's.
        plan: whose resources count.
        cluster: what the user's file says of the cluster.
    """
    shape = shape_of(arm.name, plan.file.experiment.resources, cluster or Shape())
    tasks, gpus, device = shape.tasks_per_node or 1, shape.gpus or 0, arm.spec.runtime.device
    if device == "cuda" or (device == "auto" and gpus):
        return Place(True, shape.tasks, shape.at_once * -(-tasks // max(gpus, 1)), "gpu_memory", shape.gpu_memory)
    return Place(False, shape.tasks, shape.at_once * tasks, "memory", shape.memory)


def memories(plan: Plan) -> dict[str, dict[str, Any]]:
    """Return for each selected arm the bytes of a training step, part by part, where they are, and whether they fit."""
    from experiments.plan.step_memory import step_memory

    found = {}
    for arm in plan.selected:
        place = place_of(arm, plan)
        memory = step_memory(arm.spec, place.world, place.gpu)
        found[arm.name] = {
            **asdict(memory), "peak": memory.peak, "of": "GPU" if place.gpu else "process",
            "processes": place.world, "stated": place.stated, "fits": place.fits(memory),
        }  # fmt: skip
    return found


def refuse_too_large(plan: Plan, cluster: Shape | None = None) -> None:
    """Refuse arms whose training step cannot fit the memory that is stated for it; nothing stated, nothing is traced.

    Args:
        plan: whose selected arms are meant.
        cluster: what the user's file says of the cluster.

    Raises:
        SpecError: with the figures of each such arm, and what makes it smaller.
    """
    lines: dict[str, list[str]] = {}
    for arm in plan.selected:
        place = place_of(arm, plan, cluster)
        if place.stated is None:
            continue
        from experiments.plan.step_memory import step_memory

        memory = step_memory(arm.spec, place.world, place.gpu)
        if not place.fits(memory):
            lines.setdefault(_told(arm.spec, place, memory), []).append(arm.name)
    if lines:
        raise SpecError([plan.file.line(text, arms, len(plan.selected)) for text, arms in lines.items()])


def _told(spec: Spec, place: Place, memory: "StepMemory") -> str:
    whose = "a GPU" if place.gpu else "a node"
    times = f"{place.sharing} processes of " if place.sharing > 1 else ""
    return (
        f"resources.{place.key}: a training step needs about {gigabytes(place.needed(memory))} of {whose} ({times}"
        f"{parts(asdict(memory))}, {gigabytes(PROCESS)} of the process), and {place.stated} is stated: "
        f"{'; '.join(_remedies(spec, place)) or 'a smaller network, or more memory, is needed'}"
    )


def _remedies(spec: Spec, place: Place) -> Iterator[str]:
    """Say what makes a step smaller without making it another arm, one added to the other, with what it needs."""
    from experiments.plan.step_memory import step_memory

    runtime, changes = spec.runtime, dict[str, Any]()
    most = max(1, spec.learning.batch_size // place.world)
    wanted = {"precision": "bf16", "checkpointing": True, "accumulation": most}
    if place.world > 1:
        wanted["shard"] = True
    for name, value in wanted.items():
        if getattr(runtime, name) == value:
            continue
        changes[name] = value
        memory = step_memory(spec.model_copy(update={"runtime": runtime.model_copy(update=changes)}),
                             place.world, place.gpu)  # fmt: skip
        said = " and ".join(f"runtime.{key}={str(own).lower()}" for key, own in changes.items())
        yield f"{said} needs {gigabytes(place.needed(memory))}"
        if place.fits(memory):
            return


def parts(memory: Mapping[str, Any]) -> str:
    """Return what a step's memory consists of, in words."""
    names = ("parameters", "average", "optimiser", "gradients", "activations")
    return ", ".join(f"{gigabytes(memory[name])} {name}" for name in names)


def gigabytes(size: float) -> str:
    """Return a size in GB of 10^9 bytes with three digits, in MB where it is small."""
    return f"{size / 1e9:.3g} GB" if size >= 1e9 else f"{size / 1e6:.3g} MB"
