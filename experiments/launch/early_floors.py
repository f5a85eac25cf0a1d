"""The floors that need no training: measured where data are prepared, and noted, since some come to nothing."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.data.prepare import Prepared
from components.scoring.features.extraction import Measuring
from experiments.plan.plan import Plan
from experiments.record.progress import Progress
from experiments.record.recording import write_json
from experiments.scores import floors
from experiments.scores.scoring import planned_fake, real_videos, references_of, side_of, will_change_size
from registry.runs.files import locked
from registry.runs.floors import read_floors
from registry.runs.places import FLOORS_MEASURED
from registry.runs.records import read_json
from registry.schema.spec import Spec

EARLY = ("real_halves", "reconstruction")


def early_floors(plan: Plan) -> list[str]:
    """Return the floors of an experiment that need no training."""
    return [name for name in EARLY if name in plan.file.experiment.floors]


def mark_of(shared: str) -> str:
    """Return what the notes call that which prepared data follow from."""
    return hashlib.sha256(shared.encode()).hexdigest()[:16]


def measured_for(plan: Plan) -> set[str]:
    """Return the marks of that for which all early floors of an experiment were measured, and are still there."""
    wanted, lost = early_floors(plan), not read_floors(plan.folder)
    found = set()
    for mark, came in (read_json(plan.folder / FLOORS_MEASURED) or {}).items():
        if isinstance(came, dict) and all(name in came and not (lost and came[name]) for name in wanted):
            found.add(mark)
    return found


@dataclass(frozen=True)
class Opened:
    """What arms share whose prepared data are the same, once it is opened.

    Args:
        spec: of one of the arms; says what is measured.
        prepared: the data.
        autoencoder: on the device of `how`.
        metrics: of the protocol.
        how: processes, batches, device.
    """

    spec: Spec
    prepared: Prepared
    autoencoder: Any
    metrics: list[Any]
    how: Measuring


def measure_early(plan: Plan, shared: str, opened: Opened, progress: Progress) -> None:
    """Measure the early floors that the experiment's file does not have yet, and note that it was done.

    Args:
        plan: of the experiment.
        shared: what the prepared data follow from.
        opened: the data and what measures them.
        progress: is called with (what, clips done, clips in all).
    """
    spec, prepared, metrics, how = opened.spec, opened.prepared, opened.metrics, opened.how
    owners = {"real_halves": "", "reconstruction": floors.owner(opened.autoencoder)}
    wanted, protocols = early_floors(plan), floors.protocols_of(spec, prepared, metrics)

    def known(name: str) -> set[str]:
        of = name, owners[name]
        return {floor.protocol for floor in floors.known_floors(plan.folder) if (floor.floor, floor.of) == of}

    missing = [name for name in wanted if protocols - known(name)]
    if missing:
        videos = real_videos(spec, prepared)
        resized = will_change_size(spec, side_of(spec.scoring, "real", videos)[0])
        fake, folder = planned_fake(spec), references_of(prepared)
        pool = floors.pool_of(spec.scoring, videos, fake, resized, metrics, how, folder, progress)
        if "real_halves" in missing:
            floors.add_floors(plan.folder, floors.real_halves(pool, metrics))
        if "reconstruction" in missing:
            found = floors.reconstruction(spec, opened.autoencoder, pool, prepared, metrics, how, progress)
            floors.add_floors(plan.folder, found)
    if wanted:
        note_measured(plan, mark_of(shared), {name: bool(protocols & known(name)) for name in wanted})


def note_measured(plan: Plan, mark: str, came: Mapping[str, bool]) -> None:
    """Note that floors were measured, so that those which came to nothing are not tried again.

    Args:
        plan: of the experiment.
        mark: of what the prepared data follow from, or the replicate that was resampled.
        came: floor, or protocol -> whether there is one now; too few videos give none.
    """
    path = plan.folder / FLOORS_MEASURED
    with locked(plan.folder):
        noted = read_json(path) or {}
        before = noted.get(mark)
        now = {**(before if isinstance(before, dict) else {}), **came}
        if now != before:
            write_json(path, {**noted, mark: now})
