"""Which videos the arms of a plan train on: those that the longest clip of any arm needs; how many, once prepared."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from components.assembly import Assembly
from components.data.manifest import Manifest
from components.data.prepare import folder_of
from experiments.plan.plan import Plan
from registry.errors import RunError, SpecError
from registry.runs.places import DATA_FOLDER
from registry.schema.spec import Spec
from registry.schema.values import values_at

DECIDED_BY = ("data.dataset", "data.path", "data.resolution", "data.frames", "data.interval", "data.shortest_video")


def usable_videos(plan: Plan) -> dict[str, dict[str, Any] | None]:
    """By selected arm the videos that are long enough for its training and validation; None where none are prepared.

    `frames` is what a video must have, `of` counts all readable videos by split, `long_enough` those that have it.
    """
    known: dict[str, dict[str, Any] | None] = {}
    found = {}
    for arm in plan.selected:
        same = values_at(arm.spec, DECIDED_BY)
        if same not in known:
            known[same] = _counted(plan, arm.spec)
        found[arm.name] = known[same]
    return found


def _counted(plan: Plan, spec: Spec) -> dict[str, Any] | None:
    try:
        dataset = Assembly(spec, plan.file.parts).dataset()
        records = Manifest.read(folder_of(dataset, plan.runs / DATA_FOLDER)).records
    except (SpecError, RunError, OSError, ValueError, KeyError):  # not named, not prepared, or to be prepared anew
        return None
    needed = spec.data.least_frames
    of = Counter(record.split for record in records)
    long_enough = Counter(record.split for record in records if record.frames >= needed)
    by_split = {split: long_enough[split] for split in sorted(of)}
    return {"frames": needed, "long_enough": by_split, "of": {split: of[split] for split in by_split}}


def lines(plan: Plan, usable: Mapping[str, Mapping[str, Any] | None]) -> list[str]:
    """What people are told of it: a line for each data set and need, and one where the counts are not known yet.

    Args:
        plan: what is planned.
        usable: what `usable_videos` gives for it.
    """
    told: dict[str, None] = {}
    shared = {arm.spec.data.shortest_video for arm in plan.selected}
    for arm in plan.selected:
        data, counts = arm.spec.data, usable[arm.name]
        why = "the longest clip of any arm" if data.least_frames in shared else "a clip"
        needed = f"have the {data.least_frames} frames that {why} needs"
        if counts is not None:
            shares = [f"{counts['long_enough'][split]} of {total} ({split})" for split, total in counts["of"].items()]
            told[f"videos of {data.dataset.name}: {', '.join(shares)} {needed}"] = None
        elif data.shortest_video:
            told[f"arms are trained on the videos of {data.dataset.name} that {needed}; counts: after `prepare`"] = None
    return list(told)
