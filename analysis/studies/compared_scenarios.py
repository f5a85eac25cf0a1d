"""Simulated experiments in which effects are compared: over the values of another axis, or between two steps."""

from dataclasses import replace

from analysis.studies.simulations import ANY, SPREAD, Scenario, order
from registry.experiment.claims import Kind, ResolvedClaim


def compared(kind: Kind, labels: tuple[str, str], values: str) -> ResolvedClaim:
    """Return a claim that compares the effect of two arms over values: arms a, b stand there as a1, b1, a2, b2, …"""
    arms = tuple(f"{arm}{value}" for value in values for arm in labels)
    points = tuple((("other", value),) for value in values)
    return replace(order(*labels), kind=kind, arms=arms, points=points, over="other")


def changed(first: str, second: str) -> ResolvedClaim:
    """Return a claim that the effect of two arms differs between steps 1 and 2: arms a, b are there a1, b1, a2, b2."""
    return replace(order(first, second), kind="change", step=2, since=1)


# Effects that are compared, over a grid or two steps that share what a seed does to an arm.
COMPARED = (
    Scenario(
        "interaction of 2 axes whose effects add up",
        {"a1": 0.0, "b1": -4 * SPREAD, "a2": 6 * SPREAD, "b2": 2 * SPREAD},
        (compared("interaction", ("b", "a"), "12"),),
        {"interaction": ANY},
        at_both_points=2 * SPREAD,
    ),
    Scenario(
        "order that holds over 3 values, no effect at the last",
        {"a1": 0.0, "b1": 6 * SPREAD, "a2": 0.0, "b2": 6 * SPREAD, "a3": 0.0, "b3": 0.0},
        (compared("holds_over", ("a", "b"), "123"),),
        {"holds_over": ANY},
    ),
    Scenario(
        "the same, no effect at all",
        {f"{arm}{value}": 0.0 for value in "123" for arm in "ab"},
        (compared("holds_over", ("a", "b"), "123"),),
        {"holds_over": ANY},
    ),
    Scenario(
        "effect that is the same at both steps",
        {"a1": 0.0, "b1": 4 * SPREAD, "a2": -6 * SPREAD, "b2": -2 * SPREAD},
        (changed("a", "b"),),
        {"change": ANY},
        at_both_points=2 * SPREAD,
    ),
)
