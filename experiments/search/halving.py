"""What a screen decides: successive halving over arms, as functions of how far they are and of what was decided before.

A rung is decided once, when every arm in the race has got there or never will. Who comes later (a failed arm that was
tried again, an arm that is new in the file) is held to the worst value that was kept.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cut:
    """What was decided at a rung.

    Args:
        step: of the rung.
        values: by arm, in the order of the file; lower is better.
        kept: arms that go on, the best first.
    """

    step: int
    values: Mapping[str, float]
    kept: tuple[str, ...]

    @property
    def order(self) -> list[str]:
        """Every arm that was looked at, the best first, equals as in the file; one that diverged comes last."""
        return _order(self.values)

    def admits(self, value: float) -> bool:
        """Whether an arm that comes later may go on."""
        worst = max(self.values[arm] for arm in self.kept)
        return not math.isfinite(worst) or value <= worst

    def reason(self, arm: str, value: float) -> str:
        """Why an arm is stopped, in words."""
        if arm in self.values:
            return f"screened out at step {self.step}, {ordinal(1 + self.order.index(arm))} of {len(self.values)}"
        place = 1 + sum(_key(other) <= _key(value) for other in self.values.values())
        return f"screened out at step {self.step}, {ordinal(place)} of {len(self.values) + 1}, too late to be kept"


@dataclass(frozen=True)
class Standing:
    """How far an arm is.

    Args:
        values: step -> value, at the steps that all its replicates have got to.
        able: whether what it lacks may still come: none of its replicates has failed or was cancelled before.
    """

    values: Mapping[int, float]
    able: bool


@dataclass(frozen=True)
class Decision:
    """What is wanted now.

    Args:
        until: arm -> the step at which it is to pause, None for to the end.
        out: arm -> why it is stopped.
        cut: a rung that can be decided now, to be written down before anything is done about it.
    """

    until: Mapping[str, int | None] = field(default_factory=dict)
    out: Mapping[str, str] = field(default_factory=dict)
    cut: Cut | None = None


def cut(step: int, values: Mapping[str, float], keep: float) -> Cut:
    """Keep the best share of arms: at least one, and none that diverged unless all have.

    Args:
        step: of the rung.
        values: by arm, in the order of the file; lower is better.
        keep: the share, rounded up.
    """
    order = _order(values)
    most = max(1, math.ceil(keep * len(order) - 1e-9))
    finite = [arm for arm in order if math.isfinite(values[arm])]
    return Cut(step, dict(values), tuple((finite or order[:1])[:most]))


def decide(
    standings: Mapping[str, Standing], rungs: Sequence[int], keep: float, decided: Mapping[int, Cut]
) -> Decision:
    """What is wanted of every arm.

    Args:
        standings: by arm.
        rungs: steps, ascending.
        keep: the share that goes on from each.
        decided: the rungs that were decided before.
    """
    until: dict[str, int | None] = {}
    out: dict[str, str] = {}
    racing = list(standings)
    for step in rungs:
        there = {arm: standings[arm].values[step] for arm in racing if step in standings[arm].values}
        if step not in decided:
            until |= dict.fromkeys(racing, step)
            waiting = any(arm not in there and standings[arm].able for arm in racing)
            return Decision(until, out, None if waiting or not there else cut(step, there, keep))
        made, going_on = decided[step], []
        for arm in racing:
            if arm in made.kept or (arm not in made.values and arm in there and made.admits(there[arm])):
                going_on.append(arm)
            elif arm in made.values or arm in there:
                out[arm] = made.reason(arm, made.values.get(arm, there.get(arm, math.nan)))
            else:
                until[arm] = step
        racing = going_on
    return Decision(until | dict.fromkeys(racing), out)


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, … 11th, … 21st."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _key(value: float) -> tuple[bool, float]:
    finite = math.isfinite(value)
    return (not finite, value if finite else 0.0)


def _order(values: Mapping[str, float]) -> list[str]:
    return sorted(values, key=lambda arm: _key(values[arm]))
