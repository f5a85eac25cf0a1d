"""What is allowed and yet makes results that say little: told before anything is computed, and nothing is refused."""

import math

from experiments.plan import other_code
from experiments.plan.plan import Plan
from experiments.plan.starts import other_videos
from experiments.training.devices import computes_bfloat16, device_of

MOST_LEFT = 0.1  # share of the initial weights in the averaged ones at the last step


def warnings(plan: Plan, here: bool = False) -> list[str]:
    """One line for each doubtful value of the selected arms, with its place, its key and what it does.

    Args:
        plan: of the experiment.
        here: its replicates are to run on this machine.
    """
    arms_of: dict[tuple[float, int, str], list[str]] = {}
    for arm in plan.selected:
        learning = arm.spec.learning
        if learning.steps and learning.ema_decay**learning.steps > MOST_LEFT:
            arms_of.setdefault((learning.ema_decay, learning.steps, arm.spec.sampling.weights), []).append(arm.name)
    averages = [_about_average(plan, *values, arms) for values, arms in arms_of.items()]
    slow = _about_bfloat16(plan) if here else []
    return [*averages, *_about_early_steps(plan), *_about_presets(plan), *other_videos(plan), *slow, *_about_code(plan)]


def _about_early_steps(plan: Plan) -> list[str]:
    """Say which steps of `evaluate_at` no arm of the experiment comes to before its end."""
    wanted, steps = plan.file.experiment.evaluate_at, [arm.spec.step for arm in plan.arms]
    if wanted is None or not steps:
        return []
    first = wanted if isinstance(wanted, tuple) else (wanted.every,)
    behind = [step for step in first if step > max(steps)]
    if not behind:
        return []
    return [
        f"{plan.file.place(('evaluate_at',))}: warning: evaluate_at: {', '.join(map(str, behind))}: no arm is trained "
        f"so far ({max(steps)} steps), so nothing is evaluated there"
    ]


def _about_bfloat16(plan: Plan) -> list[str]:
    """Say which arms are slower in bf16 than in fp32 on this machine's processor."""
    on_cpu = [
        arm.name
        for arm in plan.selected
        if (runtime := arm.spec.runtime).precision == "bf16"
        and runtime.device != "cuda"  # which is refused elsewhere where there is none
        and device_of(arm.spec).type == "cpu"
    ]
    if not on_cpu or computes_bfloat16():
        return []
    place = plan.file.place(("base", "runtime", "precision"))
    return [
        f"{place}: warning: {_whose(plan, on_cpu)}this machine's processor has no instructions for bfloat16: "
        "runtime.precision: bf16 is many times slower here than fp32"
    ]


def _about_presets(plan: Plan) -> list[str]:
    """Say where arms are trained on a data set otherwise than its preset, which is the official code's way."""
    arms_of: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for arm in plan.selected:
        data = arm.spec.data
        preset = plan.file.parts.find("dataset", data.dataset.name).fact("preset")
        departing = [key for key, value in preset.items() if getattr(data, key) != value]
        if departing:
            told = tuple(f"data.{key} {getattr(data, key)} for {preset[key]}" for key in departing)
            arms_of.setdefault((data.dataset.name, told), []).append(arm.name)
    place = plan.file.place(("base", "data", "dataset"))
    return [
        f"{place}: warning: {_whose(plan, arms)}not how the official code reads {name}: {', '.join(told)}"
        for (name, told), arms in arms_of.items()
    ]


def _whose(plan: Plan, arms: list[str]) -> str:
    return "" if len(arms) == len(plan.selected) else f"arm {', '.join(arms)}: "


def _about_code(plan: Plan) -> list[str]:
    """Say what the present code has not made, though nothing would be run for it."""
    told = other_code.summary(other_code.outdated(plan, plan.work))
    if not told:
        return []
    return [f"made, or begun, by other code than the present: {told}; `launch --again` makes them anew and keeps these"]


def _about_average(plan: Plan, decay: float, steps: int, weights: str, arms: list[str]) -> str:
    place = plan.file.place(("base", "learning", "ema_decay"))
    whose = _whose(plan, arms)
    used = "are sampled and scored" if weights == "ema" else "the validation loss is of"
    return (
        f"{place}: warning: {whose}learning.ema_decay: {decay:g} over {steps} steps leaves {decay**steps:.1%} of the "
        f"initial weights in the averaged ones, which {used}; {_decay_that_leaves(MOST_LEFT, steps):g} leaves "
        f"{MOST_LEFT:.0%}"
    )


def _decay_that_leaves(share: float, steps: int) -> float:
    """The decay, to two digits of what is missing to 1, that leaves at most this share after so many steps."""
    missing = 1 - share ** (1 / steps)
    digits = 1 - math.floor(math.log10(missing))
    return round(1 - math.ceil(missing * 10**digits) / 10**digits, digits)
