"""What was tuned before the seeds that count, in words and as rows: which value of which key each arm was given."""

from collections.abc import Mapping

from registry.runs.tunings import TunedArm
from registry.schema.labels import label_of

DIVERGED = "not finite"


def tuning_lines(tuned: Mapping[str, TunedArm]) -> list[str]:
    """Return a line for what was chosen, one for each way that it was, and a warning where the list may be too short.

    Args:
        tuned: arm -> what its tuning has chosen.
    """
    by_way: dict[str, list[str]] = {}
    for arm, found in tuned.items():
        by_way.setdefault(way_of(found), []).append(f"{arm} {values_text(found.values)}")
    lines = [f"tuned {way}: {'; '.join(arms)}" for way, arms in by_way.items()]
    edges: dict[str, list[str]] = {}
    for arm, found in tuned.items():
        for key in found.at_edge:
            edges.setdefault(key, []).append(f"{arm} ({label_of(found.values[key])})")
    return lines + [
        f"warning: the best {key} lies at the edge of the list for {', '.join(arms)}: a better one may lie beyond; "
        "longer lists are tuned anew"
        for key, arms in edges.items()
    ]


def way_of(found: TunedArm) -> str:
    """Return how an arm was tuned, in words."""
    weights = " of the weights themselves" if found.raw else ""
    seeds = ", ".join(map(str, found.seeds))
    return (
        f"{', '.join(found.values)} by {found.metric}{weights} at step {found.steps}, "
        f"seed{'' if len(found.seeds) == 1 else 's'} {seeds}"
    )


def values_text(values: Mapping[str, object]) -> str:
    """Return values in a line; the keys, where there are several."""
    if len(values) == 1:
        return label_of(next(iter(values.values())))
    return ", ".join(f"{key} {label_of(value)}" for key, value in values.items())


def tuning_rows(tuned: Mapping[str, TunedArm]) -> list[list[str]]:
    """Return a row for each candidate of each arm: arm, values, score, and `chosen` for the one that was."""
    return [
        [
            arm,
            values_text(one.values),
            DIVERGED if one.score is None else f"{one.score:.4g}",
            "chosen" if one.identity == found.identity else "",
        ]
        for arm, found in tuned.items()
        for one in found.tried
    ]
