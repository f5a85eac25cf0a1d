"""What a plan says of each arm: identity, depth, parameters, MACs, states, and what it costs."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from experiments.plan.check import counted
from experiments.plan.costs import Pace, cost, measure
from experiments.plan.network_counts import NETWORK
from experiments.plan.plan import Plan
from experiments.plan.videos import usable_videos
from registry.runs.run_folder import replicates
from registry.schema.resources import Shape
from registry.schema.values import values_at

# The keys that decide how long a step takes.
COSTS = (*NETWORK, "diffusion", "learning.batch_size", "sampling.sampler", "sampling.guidance", "runtime")


def rows(plan: Plan, paces: Mapping[str, Pace] | None = None, defaults: Shape | None = None) -> list[dict[str, Any]]:
    """One row an arm: identity, depth, parameters, MACs, states, GPU-hours in all and still to come, videos.

    Args:
        plan: what is planned.
        paces: by arm, where they were measured.
        defaults: what the user's file says of the cluster, for the GPUs of a replicate.
    """
    found, videos = [], usable_videos(plan)
    resources = plan.file.experiment.resources
    for arm, counts in counted(plan):
        own = replicates(plan.name, [arm], plan.file.experiment.seeds, plan.runs)
        states = [replicate.state for replicate in own]
        one = cost(arm.name, arm.spec, resources, own, counts.evaluated, (paces or {}).get(arm.name), defaults)
        found.append({
            "arm": arm.name,
            "identity": arm.identity,
            "axes": dict(arm.axes),
            "depth": arm.spec.model.depth,
            "parameters": counts.parameters,
            "macs": {name: getattr(counts, name) for name in ("paper_convention", "per_clip", "evaluated")},
            "seeds": list(plan.file.experiment.seeds),
            "state": states[0] if len(set(states)) == 1 else ", ".join(f"{n} {s}" for s, n in Counter(states).items()),
            "gpu_hours": round(one.gpu_hours * len(own), 6),
            "gpu_hours_left": round(one.gpu_hours * sum(state not in ("done", "stopped") for state in states), 6),
            "gpu_hours_from": one.how,
            "videos": videos[arm.name],
        })  # fmt: skip
    return found


def paces(plan: Plan, progress: Callable[[str, int, int], None]) -> dict[str, Pace]:
    """The pace of every selected arm on this machine, measured once for arms that cost the same; writes nothing."""
    known: dict[Any, Pace] = {}
    found = {}
    for number, arm in enumerate(plan.selected, 1):
        same = values_at(arm.spec, COSTS)
        if same not in known:
            known[same] = measure(arm.spec)
        found[arm.name] = known[same]
        progress("measuring the pace of arms", number, len(plan.selected))
    return found
