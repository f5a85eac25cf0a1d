"""What a verdict's reason says of a claim's parts: the steps of a trend, a grid's points, effects that are compared."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from analysis.statistics.t_tests import holm
from analysis.verdicts.effects_over import EffectAt, Growth
from analysis.verdicts.evidence import Evidence, PointEffect, Step
from registry.experiment.claims import ResolvedClaim

Part = TypeVar("Part", Step, EffectAt)


def judged_parts(parts: Sequence[Part], evidence: Evidence, level: float, all_shown: bool) -> tuple[Part, ...]:
    """Return steps or effects with those marked that are shown: all where the claim is supported, else by Holm.

    Args:
        parts: of the claim's evidence.
        evidence: whose parts they are.
        level: of the claim's test.
        all_shown: whether the claim is decided.
    """
    adjusted = holm([part.p_better for part in parts])
    supported = all_shown and evidence.leaning == "supported"
    return tuple(
        replace(part, shown=not evidence.obstacle and (supported or (p or 0.0) <= level))
        for part, p in zip(parts, adjusted, strict=True)
    )


def said_of_steps(steps: Sequence[Step], evidence: Evidence, level: float) -> list[str]:
    """Return `improves on the whole; steps S-B, B-L shown, L-XL not`, and the size of each step with its interval."""
    whole = evidence.test.p is not None and evidence.test.p <= level
    on_the_whole = f"{'improves' if evidence.leaning == 'supported' else 'gets worse'} on the whole"
    sizes = (f"{step.worse} to {step.better} {_sized(step)}" for step in steps)
    shown = _shown([(f"{step.worse}-{step.better}", step.shown) for step in steps])
    return [*([on_the_whole] if whole else []), f"steps {shown}", f"steps: {', '.join(sizes)}"]


def said_of_points(points: Sequence[PointEffect]) -> str:
    """Return `effect at 4 points: -0.1 (patch=2) to +0.3 (patch=4)`: an average may hide that points disagree."""
    ordered = sorted(points, key=lambda point: point.effect)
    shown = (f"{own.effect:+.3g} ({', '.join(f'{axis}={label}' for axis, label in own.at.items())})" for own in ordered)
    lowest, *_, highest = shown
    return f"effect at {len(points)} points: {lowest} to {highest}"


def said_of_values(claim: ResolvedClaim, values: Sequence[EffectAt], growth: Growth | None) -> list[str]:
    """Return the effect at each value with its interval, where it is shown, and how an order's effect goes on.

    Args:
        claim: that compares effects.
        values: of it, judged.
        growth: of an order's effect; None where there is none.
    """
    effects = ", ".join(f"{value.value} {_sized(value)}" for value in values)
    if claim.kind != "holds_over":
        return [f"effect at {claim.over or 'step'}: {effects}"]
    signs = [(value.effect or 0.0) > 0 for value in values]
    kept = f"the sign is kept at {'every' if all(signs) else f'{sum(signs)} of {len(signs)}'} {claim.over}"
    shown = _shown([(value.value, value.shown) for value in values])
    return [f"{kept}; {shown}", f"effect at {claim.over}: {effects}", *(_said_of_growth(growth) if growth else [])]


def _said_of_growth(growth: Growth) -> list[str]:
    slope, beyond = growth.slope, growth.beyond
    if slope.mean is None or beyond.mean is None:
        return []
    of = {"parameters": "doubling of the parameters", "value": "doubling of the value", "rank": "rank"}[growth.scale]
    on = {"parameters": "the logarithm of the parameters", "value": "the logarithm of the value", "rank": "ranks"}
    at = {"parameters": f"{growth.at:.3g} parameters", "value": f"{growth.at:.3g}", "rank": f"rank {growth.at:g}"}
    return [
        f"per {of} the effect changes by {_number(slope.mean, slope.interval)}",
        f"extrapolated to {at[growth.scale]}, the next value, where nothing was measured: "
        f"{_number(beyond.mean, beyond.interval)}, if the effect goes on along a straight line over {on[growth.scale]}",
    ]


def _sized(part: Step | EffectAt) -> str:
    return _number(part.effect or 0.0, part.interval)


def _number(mean: float, interval: tuple[float, float] | None) -> str:
    return f"{mean:+.3g}" + (f" ({interval[0]:.3g} to {interval[1]:.3g})" if interval else "")


def _shown(parts: Sequence[tuple[str, bool]]) -> str:
    """`S-B, B-L shown, L-XL not` of names, each with whether it is shown."""
    names = {shown: [name for name, own in parts if own is shown] for shown in (True, False)}
    return ", ".join([*_marked(names[True], "shown"), *_marked(names[False], "not" if names[True] else "not shown")])


def _marked(names: Sequence[str], mark: str) -> list[str]:
    return [f"{', '.join(names)} {mark}"] if names else []
