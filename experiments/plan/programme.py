"""What a programme of experiments costs, in the official way and in ours, by arithmetic; nothing is measured here.

Every way is the same arithmetic (6 FLOP a multiply-accumulate of a training step, 2 of a sampled clip) at what a GPU
sustains, and days are those of replicates that keep all GPUs busy. What is assumed stands beside each line.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from components.network_counts import count_network
from experiments.plan.costs import cost
from experiments.plan.plan import Plan
from registry.runs.places import training_name
from registry.schema.resources import Resources

GPUS = (8, 64)
# Official trainings of XL/2 in float32 with TF32 on A100s: 1.54 clips/s a GPU (calculated from the logs in issue 54 of
# the official repository), at 6 x 1.862 TMAC a clip. Its encoder runs in every step and is in that time.
OFFICIAL_CLIPS, OFFICIAL_TFLOP = 1.54, 6 * 1.8623
H100_TO_A100 = 495 / 156  # dense TF32 peaks, NVIDIA's data sheets; assumed to carry over
# Early decisions, assumed: half of the trainings end at each rung, and what stands at a rung is scored there.
RUNGS, KEPT = (0.25, 0.5), 0.5


@dataclass(frozen=True)
class Way:
    """What a programme costs in one way.

    Args:
        way: its name.
        gpu_hours: on H100s.
        basis: what is known of it, and what is assumed.
    """

    way: str
    gpu_hours: float
    basis: str

    def days(self, gpus: int) -> float:
        """Return the days that so many GPUs take."""
        return self.gpu_hours / gpus / 24


@dataclass(frozen=True)
class Work:
    """FLOP of a programme: trainings each time that an arm wants one, trainings once, and evaluations."""

    alone: float
    shared: float
    evaluations: float


def work_of(plans: Sequence[Plan]) -> Work:
    """Return the FLOP of all selected arms, whatever of it is done already, with the most seeds that there may be."""
    alone = evaluations = 0.0
    once: dict[tuple[str, int], float] = {}
    for plan in plans:
        most = plan.possible_seeds()
        for arm in plan.selected:
            seeds = most[arm.identity]
            found = cost(arm.name, arm.spec, Resources(tflops=1), [], count_network(arm.spec))
            training, evaluation = (hours * found.devices * 3.6e15 for hours in (found.training, found.evaluation))
            alone += training * len(seeds)
            evaluations += evaluation * len(seeds) * (1 + len(plan.early_steps(arm)))
            for key in ((training_name(arm.spec), seed) for seed in seeds):
                once[key] = max(training, once.get(key, 0.0))
    return Work(alone, sum(once.values()), evaluations)


def programme(plans: Sequence[Plan]) -> list[Way]:
    """Return what the selected arms of all plans cost in each way, the dearest first."""
    work, ours = work_of(plans), max(plan.file.experiment.resources.tflops for plan in plans)
    official = OFFICIAL_CLIPS * OFFICIAL_TFLOP * H100_TO_A100
    early = early_share()
    scored = sum(KEPT**number for number in range(len(RUNGS) + 1))
    sustained = f"{ours:g} TFLOP/s sustained (resources.tflops, assumed)"
    rungs = ", ".join(f"{rung:g}" for rung in RUNGS)
    halved = f"assumed: {1 - KEPT:.0%} of the trainings end at {rungs} of their steps each, scored there"
    return [
        Way("official, each arm alone", _hours(work.alone + work.evaluations, official),
            f"published {OFFICIAL_CLIPS:g} clips/s a GPU on A100s, times {H100_TO_A100:.2f} for an H100 (assumed)"),
        Way("ours, each arm alone", _hours(work.alone + work.evaluations, ours), sustained),
        Way("ours, trainings shared", _hours(work.shared + work.evaluations, ours), "what arms share is trained once"),
        Way("ours, shared, early decisions", _hours(early * work.shared + scored * work.evaluations, ours), halved),
    ]  # fmt: skip


def early_share() -> float:
    """Return the share of all steps that is made where half of what stands ends at each rung."""
    edges = (0.0, *RUNGS, 1.0)
    return sum((edges[number + 1] - edges[number]) * KEPT**number for number in range(len(RUNGS) + 1))


def _hours(flop: float, tflops: float) -> float:
    return flop / (tflops * 1e12) / 3600
