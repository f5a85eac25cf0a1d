"""An experiment's axes -> drafts of its arms: one factor at a time, grids, linked values, and named arms."""

import copy
import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from registry.errors import did_you_mean, shortened
from registry.experiment.experiment_file import ARMS_AXIS, AXES, BASELINE, MAX_NAME, ExperimentFile, merge
from registry.experiment.written import labelled
from registry.schema.labels import label_of
from registry.schema.result_columns import FIXED, RECORDED
from registry.schema.search import is_trial
from registry.schema.spec import Spec
from registry.strict_yaml import Key

SECTIONS = set(Spec.model_fields) - {"plugins"}
MAX_LABEL = 300
MAX_ARMS = 5000  # of each kind of axis: planning takes 4 ms an arm, and more for each other network
MAX_REPLICATES = 50_000
TAKEN = {*FIXED, *RECORDED}  # names that an axis cannot have


@dataclass(frozen=True)
class Draft:
    """An arm as written, before it is resolved; named by what differs from the baseline."""

    name: str
    axes: Mapping[str, str]  # axis -> the label of this arm's value on it
    raw: Mapping[str, Any] = field(repr=False)  # the base with the arm's changes; sections may be shared by arms
    changed: tuple[Key, ...]
    place: Key  # where the change was written


def sound_axes(file: ExperimentFile) -> tuple[list[str], ExperimentFile]:
    """What is wrong with the axes themselves, and the experiment without those axes and the claims on them.

    So one misspelt axis hides nothing of what else is wrong.
    """
    experiment, wrong = file.experiment, []
    kept: dict[str, dict[str, Any]] = {"ablate": {}, "grid": {}, "zip": {}, "arms": {}}
    for section in AXES:
        for key, values in getattr(experiment, section).items():
            place = f"{file.place((section, key))}: {section}.{key}"
            own = key_problems(key, file) + ([] if values else ["needs at least one value"]) + _label_problems(values)
            wrong += [f"{place}: {text}" for text in own]
            if not own:
                kept[section][key] = values
    if len({len(values) for values in experiment.zip.values()}) > 1:
        lengths = ", ".join(f"{key} has {len(values)}" for key, values in experiment.zip.items())
        wrong.append(f"{file.place(('zip',))}: zip: linked values must be equally many: {lengths}")
        kept["zip"] = {}
    wrong += _too_many(kept, file)
    for name, changes in experiment.arms.items():
        place = f"{file.place(('arms', name))}: arms.{name}"
        own = [f"{place}.{key}: {text}" for key in changes for text in key_problems(key, file)]
        if name == BASELINE or not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
            own.append(f"{place}: {name!r} cannot name an arm; use letters, digits, _ . -, and not {BASELINE!r}")
        if len(name) > MAX_NAME:
            own.append(f"{place}: a name of {len(name)} characters; {MAX_NAME} are the most")
        if is_trial(name):
            own.append(f"{place}: {name!r} is how a search calls its trials; take another name")
        wrong += own
        if not own:
            kept["arms"][name] = changes
    written = {key for section in AXES for key in getattr(experiment, section)}
    dropped = written - {key for section in AXES for key in kept[section]}
    about_dropped = [c for c in experiment.claim if any(f".{key}".endswith(f".{a}") for key in dropped for a in c.axes)]
    if len(kept["arms"]) < len(experiment.arms):
        about_dropped += [c for c in experiment.claim if c.axis == ARMS_AXIS]
    claims = tuple(c for c in experiment.claim if c not in about_dropped)
    return wrong, replace(file, experiment=experiment.model_copy(update={**kept, "claim": claims})) if wrong else file


def _label_problems(entries: tuple[Any, ...]) -> list[str]:
    """What is wrong with the labels that an axis's entries are given."""
    wrong, taken = [], dict[str, Any]()
    for entry in entries:
        value, label = labelled(entry)
        if value is not entry and (not 0 < len(label) <= MAX_LABEL or "\n" in label):
            wrong.append(f"{shortened(label)!r} cannot be a label: one line of 1 to {MAX_LABEL} characters, please")
        if taken.setdefault(label, value) != value:
            wrong.append(f"two values have the label {label!r}")
    return wrong


def _too_many(kept: dict[str, dict[str, Any]], file: ExperimentFile) -> list[str]:
    """What is wrong with the number of arms and replicates, counted before any is made.

    Axes that make too many are emptied in `kept`.
    """
    counts = {
        "ablate": sum(map(len, kept["ablate"].values())),
        "grid": math.prod(map(len, kept["grid"].values())) if kept["grid"] else 0,
        "zip": max(map(len, kept["zip"].values()), default=0),
    }
    wrong = []
    for section, count in counts.items():
        if count > MAX_ARMS:
            wrong.append(f"{file.place((section,))}: {section}: makes {count:,} arms; {MAX_ARMS:,} are the most")
            kept[section] = {}
    seeds, total = len(file.experiment.all_seeds), sum(counts.values()) + len(file.experiment.arms)
    if not wrong and total * seeds > MAX_REPLICATES:
        made = f"{seeds:,} seeds of {total:,} arms make {total * seeds:,} replicates"
        wrong.append(f"{file.place(('seeds',))}: seeds: {made}; {MAX_REPLICATES:,} are the most")
    return wrong


def key_problems(key: str, file: ExperimentFile) -> list[str]:
    """Why arms or trials cannot differ in a key; empty where they can."""
    section, dot, _ = key.partition(".")
    if section == "runtime":
        return ["runtime is the efficiency half and never changes a result, so it makes no arm; set it in the base"]
    if key == "model.depth" and file.experiment.match is not None:
        return ["match sets the depth itself; leave one of the two out"]
    if section not in SECTIONS:
        return [f"unknown key {section!r}; {did_you_mean(section, SECTIONS)}"]
    return [] if dot else [f"{key!r} is a section; name one of its keys, such as model.blocks"]


def make_drafts(file: ExperimentFile, baseline: Spec | None) -> list[Draft]:
    """Drafts of every arm, baseline first; where axes repeat a point, so do the drafts.

    Args:
        file: an experiment whose axes are sound.
        baseline: the resolved base, whose defaults name the baseline's place on each axis; None if it is not valid.
    """
    experiment, names = file.experiment, axis_names(file)
    at_base = {name: _base_label(file, key, baseline) for key, name in names.items()}
    if experiment.arms:
        at_base[ARMS_AXIS] = BASELINE

    def draft(changes: list[tuple[str, Any]], place: Key, name: str | None = None) -> Draft:
        labels = {ARMS_AXIS: name} if name else {names[key]: labelled(entry)[1] for key, entry in changes}
        changes = changes if name else [(key, labelled(entry)[0]) for key, entry in changes]
        differs = ",".join(f"{axis}={label}" for axis, label in labels.items() if at_base[axis] != label)
        return _draft(file, name or differs or BASELINE, at_base | labels, changes, place)

    drafts = [
        draft([(key, value)], ("ablate", key, str(index)))
        for key, values in experiment.ablate.items()
        for index, value in enumerate(values)
    ]
    if experiment.grid:
        points = itertools.product(*experiment.grid.values())
        drafts += [draft(list(zip(experiment.grid, point, strict=True)), ("grid",)) for point in points]
    for point in zip(*experiment.zip.values(), strict=True):
        drafts.append(draft(list(zip(experiment.zip, point, strict=True)), ("zip",)))
    drafts += [draft(list(changes.items()), ("arms", name), name) for name, changes in experiment.arms.items()]
    if experiment.ablate or experiment.arms or not drafts:
        drafts.insert(0, draft([], ("base",)))
    return drafts


def _draft(
    file: ExperimentFile, name: str, axes: Mapping[str, str], changes: Iterable[tuple[str, Any]], place: Key
) -> Draft:
    written = [(tuple(key.split(".")), value) for key, value in changes]
    raw = dict(file.experiment.base)
    for section in {key[0] for key, _ in written} & raw.keys():  # the others are shared by all arms
        raw[section] = copy.deepcopy(raw[section])
    for key, value in written:
        merge(raw, key, copy.deepcopy(value))
    return Draft(name, axes, raw, tuple(key for key, _ in written), place)


def trial_draft(file: ExperimentFile, name: str, values: Mapping[str, Any]) -> Draft:
    """A trial of the experiment's search: the base with a value for each key of the space."""
    axes = {key: label_of(value) for key, value in values.items()}
    return _draft(file, name, axes, values.items(), ("search", "space"))


def axis_names(file: ExperimentFile) -> dict[str, str]:
    """Dotted key -> the shortest suffix that no other axis shares, and that no other column of the results has."""
    experiment = file.experiment
    keys = list(dict.fromkeys([*experiment.ablate, *experiment.grid, *experiment.zip]))
    names = {}
    for key in keys:
        steps = key.split(".")
        for length in range(1, len(steps) + 1):
            suffix = steps[-length:]
            name = ".".join(suffix)
            if name not in TAKEN and sum(other.split(".")[-length:] == suffix for other in keys) == 1:
                break
        names[key] = name
    return names


def _base_label(file: ExperimentFile, key: str, baseline: Spec | None) -> str:
    """The baseline's own value on an axis: as the axis labels it, else as written, or the resolved default."""
    value: Any = file.experiment.base
    for step in key.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    if value is None and baseline is not None:
        resolved: Any = baseline.model_dump()
        for step in key.split("."):
            resolved = resolved.get(step) if isinstance(resolved, Mapping) else None
        value = resolved["name"] if isinstance(resolved, Mapping) else resolved
    own = label_of(value)
    entries = (labelled(entry) for section in AXES for entry in getattr(file.experiment, section).get(key, ()))
    return next((label for other, label in entries if label_of(other) == own), own)
