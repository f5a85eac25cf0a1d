"""What a plan says of each arm: identity, depth, parameters, MACs, states, and what it costs."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.plan.check import counted
from experiments.plan.costs import Pace, cost, evaluations, measure
from experiments.plan.other_code import Outdated, outdated
from experiments.plan.plan import Plan
from experiments.plan.screening import at_rungs
from experiments.plan.videos import usable_videos
from registry.parts.start_files import step_of
from registry.runs.places import TRAININGS, training_name
from registry.runs.records import State
from registry.runs.replicate import Replicate, replicate_of
from registry.runs.stored import desires, evaluations_in, training_state
from registry.schema.resources import Shape, shape_of
from registry.schema.spec import Spec
from registry.schema.values import NETWORK, values_at

# The keys that decide how long a step takes.
COSTS = (
    *NETWORK,
    "diffusion",
    "learning.batch_size",
    "learning.optimiser",
    "sampling.sampler",
    "sampling.guidance",
    "runtime",
)


def rows(
    plan: Plan,
    paces: Mapping[str, Pace] | None = None,
    defaults: Shape | None = None,
    counted_before: dict[Path, float] | None = None,
    again: bool = False,
) -> list[dict[str, Any]]:
    """Return a row for each selected arm: identities, depth, parameters, MACs, states, and what it costs, videos.

    `gpu_hours` are those of the arm alone, training and evaluations; `gpu_hours_left` are still to come, with a
    training that arms share counted for the first of them, and for a later one what it trains beyond that. Both are of
    `possible_seeds`, the most that there may be; `seeds` are those that are expected now, which are fewer where seeds
    are added until claims are decided.
    `other_code` has the seeds that other code than the present one has made, by part and loop. `tuned` has the values
    that a tuning has chosen, by key; before it has, an arm has no identity, and nothing of it is made. `task` has the
    most replicates that a Slurm task takes in turn, and its time limit.

    Args:
        plan: what is planned.
        paces: by arm, where they were measured.
        defaults: what the user's file says of the cluster, for the GPUs of a replicate.
        counted_before: the most GPU-hours that experiments of the same command have counted of each training that is
            still to be made; those of this one are added.
        again: count what other code than the present one has made as still to come.
    """
    found, videos = [], usable_videos(plan)
    experiment, expected, most = plan.file.experiment, plan.seeds_by_identity(), plan.possible_seeds()
    # The trainings of arms that wait for their tuning are those of nobody else.
    counted_already = {} if counted_before is None or plan.untuned else counted_before
    trained_again: dict[Path, set[int]] = {}
    screening = {} if plan.untuned else _evaluations_of_screen(plan)
    for arm, counts in counted(plan):
        seeds, possible = expected[arm.identity], most[arm.identity]
        own = [replicate_of(plan.name, arm, seed, plan.runs) for seed in possible]
        early_steps = plan.early_steps(arm)
        early = [replicate_of(plan.name, arm, seed, plan.runs, step) for step in early_steps for seed in possible]
        states = [State.MISSING if plan.untuned else replicate.state for replicate in own]
        others = [] if plan.untuned else outdated(plan, own)
        made_anew = [*others, *outdated(plan, early)] if again and not plan.untuned else []
        anew = {one.replicate.folder for one in made_anew}
        trained_anew = {one.replicate.training for one in made_anew if one.training}
        pace = (paces or {}).get(arm.name)
        made = [] if plan.untuned else own
        one = cost(arm.name, arm.spec, experiment.resources, made, counts, pace, defaults)
        shape = shape_of(arm.name, experiment.resources, defaults or Shape())
        on_its_way, training = one.evaluation * one.devices, one.training * one.devices
        evaluation = on_its_way * (1 + screening.get(arm.name, 0.0))
        waiting = [one for one, state in zip(own, states, strict=True) if not state.ended or one.folder in anew]
        waiting_early = [one for one in early if plan.untuned or not one.state.ended or one.folder in anew]
        lacking = trained_anew | {
            replicate.training
            for replicate in (*waiting_early, *waiting)
            if plan.untuned or not training_state(replicate.training, arm.spec).ended
        }
        left = evaluation * len(waiting) + on_its_way * len(waiting_early)
        for folder in lacking:
            left += max(0.0, training - counted_already.get(folder, 0.0))
            counted_already[folder] = max(training, counted_already.get(folder, 0.0))
        there = [replicate for replicate in (*waiting_early, *waiting) if replicate.training not in lacking]
        again_steps = sum(_made_again(one, trained_again.setdefault(one.training, set())) for one in there)
        left += training * again_steps / max(arm.spec.step, 1)
        found.append({
            "experiment": plan.name,
            "arm": arm.name,
            "identity": None if plan.untuned else arm.identity,
            "training": training_name(arm.spec) + (f"-before-tuning-of-{plan.name}" if plan.untuned else ""),
            "evaluation": arm.spec.evaluation,
            "axes": dict(arm.axes),
            "depth": arm.spec.model.depth,
            "parameters": counts.parameters,
            "macs": {name: getattr(counts, name) for name in ("paper_convention", "per_clip", "evaluated", "trained")},
            "seeds": list(seeds),
            "possible_seeds": list(possible),
            "tuned": dict(plan.chosen[arm.name].values) if arm.name in plan.chosen else None,
            "evaluate_at": [*early_steps, arm.spec.step],
            "state": _counted(states[: len(seeds)]),
            "gpu_hours": round((training + evaluation) * len(own) + on_its_way * len(early), 6),
            "gpu_hours_of_training": round(training * len(own), 6),
            "gpu_hours_left": round(left, 6),
            "gpu_hours_from": one.how,
            "videos": videos[arm.name],
            "other_code": _other_code(others),
            "task": {"replicates": shape.of_a_task, "minutes": shape.minutes_of(shape.of_a_task)},
        })  # fmt: skip
    return found


def _evaluations_of_screen(plan: Plan) -> Mapping[str, float]:
    """Return what the rungs of a screen by a score cost of each arm, in evaluations as the arm's own is.

    Counted is how often the network is asked, for every rung, as if no arm was stopped.
    """
    if plan.file.experiment.scored_screen is None:
        return {}
    specs = {arm.name: arm.spec for arm in plan.arms}
    found = dict.fromkeys(specs, 0.0)
    for one in at_rungs(plan):
        if one.run.identity == specs[one.owner].identity:
            continue  # the arm's own evaluation
        found[one.owner] += _asked(one.run.spec) / max(_asked(specs[one.owner]), 1)
    return found


def _asked(spec: Spec) -> int:
    return spec.sampling.clips * evaluations(spec)


def _counted(states: Sequence[State]) -> str:
    """`done`, or `2 done, 1 missing`."""
    return str(states[0]) if len(set(states)) == 1 else ", ".join(f"{n} {s}" for s, n in Counter(states).items())


def _made_again(replicate: Replicate, before: set[int]) -> int:
    """Return the steps of a training that are made again because the checkpoint of the evaluated step is gone.

    At most: evaluations are made in the order of their steps, and counted arm by arm.

    Args:
        replicate: the evaluation.
        before: steps of the training to which others go back; this one's is added.
    """
    step = replicate.spec.step
    reached = {*before, *(step_of(path) or 0 for path in replicate.checkpoints())}
    before.add(step)
    return step - max((own for own in reached if own <= step), default=0)


def _other_code(others: Sequence[Outdated]) -> dict[str, list[int]]:
    """Part or loop -> the seeds that another version of it has made."""
    names = dict.fromkeys(name for one in others for name in one.parts)
    return {name: [one.replicate.seed for one in others if name in one.parts] for name in names}


def trainings(plans: Sequence[Plan], arms: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each training that experiments want, counted once whoever shares it.

    Args:
        plans: of the experiments.
        arms: their rows.
    """
    by_place: dict[str, dict[str, Any]] = {}
    for plan in plans:
        own = {arm.name: arm for arm in plan.selected}
        for row in (row for row in arms if row["experiment"] == plan.name and row["arm"] in own):
            found = by_place.setdefault(row["training"], {
                "training": row["training"], "seeds": [], "arms": [], "experiments": [], "state": "", "gpu_hours": 0.0,
                "states": {}, "hours": {},
            })  # fmt: skip
            found["arms"].append(row["arm"] if len(plans) == 1 else f"{plan.name}: {row['arm']}")
            found["seeds"] = sorted({*found["seeds"], *row["seeds"]})
            hours = row["gpu_hours_of_training"] / len(row["possible_seeds"])
            found["hours"] |= {seed: max(hours, found["hours"].get(seed, 0.0)) for seed in row["possible_seeds"]}
            for seed in row["seeds"]:
                folder = plan.runs / TRAININGS / row["training"] / f"seed-{seed}"
                found["states"][seed] = training_state(folder, own[row["arm"]].spec)
                asked = (desired.experiment for place in evaluations_in(folder) for desired in desires(place))
                found["experiments"] = list(dict.fromkeys([*found["experiments"], plan.name, *asked]))
    for found in by_place.values():
        states = found.pop("states").values()
        counts = Counter(states)
        found["state"] = ", ".join(str(s) if len(counts) == 1 else f"{n} {s}" for s, n in counts.items())
        found["gpu_hours"] = round(sum(found.pop("hours").values()), 6)
    return list(by_place.values())


def totals(arms: Sequence[Mapping[str, Any]], shared: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the GPU-hours of everything: trainings once, trainings an arm, and what is still to come."""
    alone = sum(row["gpu_hours"] for row in arms)
    evaluations = alone - sum(row["gpu_hours_of_training"] for row in arms)
    return {
        "shared": round(evaluations + sum(row["gpu_hours"] for row in shared), 6),
        "alone": round(alone, 6),
        "left": round(sum(row["gpu_hours_left"] for row in arms), 6),
    }


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
