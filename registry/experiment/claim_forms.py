"""What is wrong with a claim as it is written, whatever the arms of its experiment are."""

from collections.abc import Iterator

from registry.experiment.experiment_file import Experiment
from registry.schema.claim import FORMS, Claim

MAX_LABELS = 50  # of one claim; an equivalence of so many is 1,225 claims
OWNERS = (("worse", ("better",)), ("margin", ("equivalent",)), ("holds_over", ("better",)),
          ("at_steps", ("better", "equivalent", "improving")))  # fmt: skip


def misshapen(claim: Claim, experiment: Experiment) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a claim's form, as (key, message).

    Args:
        claim: as written.
        experiment: that makes it; says at which steps trainings are evaluated.
    """
    given = [key for key in FORMS if getattr(claim, key) is not None]
    if not given:
        yield "", f"give one of {', '.join(FORMS)}: what is expected to be better, equivalent, improving or different"
    for key in given[1:]:
        yield key, f"a claim has one of {', '.join(FORMS)}; this has {given[0]} as well: write two claims"
    for key, owners in OWNERS:
        if given and getattr(claim, key) is not None and not any(owner in given for owner in owners):
            yield key, f"goes with {' or '.join(owners)}, not with {given[0]}"
    if claim.better is not None and claim.better == claim.worse:
        yield "worse", f"better and worse are both {claim.better!r}"
    if claim.equivalent is not None:
        if claim.margin is None:
            yield "equivalent", "say within what: margin: 5%, or 1 floor, or a number in the score's unit"
        if claim.direction is not None:
            yield "direction", "goes with better or improving: equivalence has no direction"
    yield from _lists(claim)
    yield from _steps(claim, experiment)


def _lists(claim: Claim) -> Iterator[tuple[str, str]]:
    for key, fewest, advice in (
        ("equivalent", 2, ""),
        ("improving", 3, "; for two write better and worse"),
        ("at_steps", 2, "; for one write step"),
    ):
        values = getattr(claim, key)
        if values is not None and len(values) < fewest:
            yield key, f"expected at least {fewest} values, got {len(values)}{advice}"
        if values is not None and len(values) > MAX_LABELS:
            yield key, f"names {len(values):,} values; {MAX_LABELS} are the most"
        if values is not None and (twice := sorted({value for value in values if values.count(value) > 1})):
            yield key, f"names {', '.join(map(repr, twice))} twice"


def _steps(claim: Claim, experiment: Experiment) -> Iterator[tuple[str, str]]:
    if claim.at_steps is None:
        return
    if claim.step is not None:
        yield "at_steps", "a claim has step or at_steps, not both"
    if experiment.evaluate_at is None:
        steps = ", ".join(map(str, sorted(claim.at_steps)[:12]))
        yield "at_steps", f"trainings are evaluated at their end alone; add `evaluate_at: [{steps}]` to the experiment"
