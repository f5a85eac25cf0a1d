"""What there is to say of seeds that are added until claims are decided: what they may cost, and where claims stand."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.plan.plan import Plan
from registry.runs.given_seeds import read_given
from registry.schema.seeds import UntilDecided

EFFECTS = (0.0, 1.0, 2.0)  # that costs are told of, in standard deviations of a paired difference


def expected(plan: Plan, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the GPU-hours of an experiment's selected arms from its first seed on, whatever of it is done already.

    Args:
        plan: of an experiment that adds seeds.
        rows: of the plan.

    Returns:
        `first`: if all ends at the first look; `most`: if every claim takes all seeds; and of each simulated effect
        (`analysis.studies.look_simulations.mean_seeds`) `gpu_hours`, and `seeds`, the mean over the arms of claims.
    """
    from analysis.studies.look_simulations import mean_seeds  # imports scipy, which `status` does without

    design = plan.file.experiment.until_decided
    assert design is not None, "called for experiments that have one"
    claims = [claim.arms for claim in plan.claims]
    named = {arm for arms in claims for arm in arms}
    own = [row for row in rows if row["experiment"] == plan.name]
    told: dict[str, Any] = {
        "first": _hours(own, {}, design.first),
        "most": _hours(own, dict.fromkeys(named, float(design.most)), design.first),
        "effects": [],
    }
    for effect in EFFECTS:
        seeds = mean_seeds(claims, design, effect)
        hours, mean = _hours(own, seeds, design.first), sum(seeds.values()) / len(seeds)
        told["effects"].append({"effect_in_sd": effect, "gpu_hours": hours, "seeds": round(mean, 2)})
    return told


def _hours(rows: Sequence[Mapping[str, Any]], seeds: Mapping[str, float], first: int) -> float:
    """Return GPU-hours where arms have so many seeds, the others the first ones; a shared training counts once."""
    trainings: dict[str, float] = {}
    evaluations = 0.0
    for row in rows:
        number, possible = seeds.get(row["arm"], float(first)), len(row["possible_seeds"])
        training = row["gpu_hours_of_training"]
        evaluations += (row["gpu_hours"] - training) / possible * number
        trainings[row["training"]] = max(trainings.get(row["training"], 0.0), training / possible * number)
    return round(evaluations + sum(trainings.values()), 6)


def told(design: UntilDecided, costs: Mapping[str, Any]) -> str:
    """Return what seeds may cost in words.

    Args:
        design: how they are added.
        costs: as `expected` gives them.
    """
    simulated = ", ".join(
        f"{own['gpu_hours']:.3g} with effects of {own['effect_in_sd']:g} sd ({own['seeds']:.1f} seeds an arm)"
        for own in costs["effects"]
    )
    return (
        f"seeds: {design.first} to {design.most}, until the claims are decided, with looks at "
        f"{', '.join(map(str, design.looks))}: {costs['first']:.3g} GPU-hours if all ends at the first look, at most "
        f"{costs['most']:.3g}; expected by simulation of claims of order: {simulated}"
    )


def decisions(plan: Plan) -> list[dict[str, Any]]:
    """Return what was decided at each look, oldest first, as plain values; nothing where seeds are listed."""
    if plan.file.experiment.until_decided is None:
        return []
    return [made.model_dump(mode="json") for made in read_given(plan.folder)]


def standing(plan: Plan) -> list[str]:
    """Return lines that say at which look an experiment stands, and of each claim whether it is open."""
    design = plan.file.experiment.until_decided
    if design is None:
        return []
    made = read_given(plan.folder)
    if not made:
        return [f"seeds: look {design.told_look(design.first)}, with {design.first} seeds, is still to come"]
    claims = made[-1].claims
    left = sum(claim.stage == "open" for claim in claims)
    look = design.told_look(max(claim.seeds for claim in claims))
    lines = [f"seeds: look {look} was taken: {left} of {len(claims)} claims {'is' if left == 1 else 'are'} open"]
    return [*lines, *(f"seeds: {claim.says}: {claim.told}" for claim in claims)]


def goes_on(plan: Plan) -> bool:
    """Whether another look is to come: no look was taken yet, or a claim is open."""
    if plan.file.experiment.until_decided is None:
        return False
    made = read_given(plan.folder)
    return not made or any(claim.stage == "open" for claim in made[-1].claims)
