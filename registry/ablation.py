"""An experiment -> its arms: one factor at a time, grids, linked values, named arms, and matched depth."""

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from registry.errors import SpecError, did_you_mean
from registry.experiment import ARMS_AXIS, BASELINE, Claim, ExperimentFile, dotted, merge
from registry.resolve import resolve
from registry.spec import Spec
from registry.strict_yaml import Key

Count = Callable[[Spec], dict[str, float]]  # spec -> {"parameters": …, "macs": …}


@dataclass(frozen=True)
class Arm:
    """One resolved point of an experiment, named by what differs from the baseline."""

    name: str
    axes: Mapping[str, str]  # axis -> the label of this arm's value on it
    spec: Spec = field(repr=False)

    @property
    def identity(self) -> str:
        return self.spec.identity


@dataclass(frozen=True)
class _Draft:
    name: str
    changes: tuple[tuple[Key, Any], ...]
    axes: Mapping[str, str]
    place: Key  # where the change was written


@dataclass(frozen=True)
class ResolvedClaim:
    """A claim between two arms of an experiment."""

    axis: str
    better: str
    worse: str
    better_arm: str
    worse_arm: str
    metric: str
    direction: str


def make_arms(file: ExperimentFile, count: Count | None = None) -> list[Arm]:
    """Every arm of the experiment, baseline first, each science once.

    Args:
        file: the experiment as read.
        count: counts parameters and MACs of a spec; needed only where the experiment has `match`.

    Raises:
        SpecError: one line for each problem of each arm, at the place where it was written.
    """
    base = file.experiment.base
    baseline, problems = resolve(base, file.parts)
    lines = [f"{file.place(('base', *key))}: {dotted(('base', *key))}: {text}" for key, text in problems]
    known = {(key, text) for key, text in problems}
    names = _axis_names(file)
    drafts, wrong = _drafts(file, names, baseline)
    lines += wrong
    arms: list[Arm] = []
    for draft in drafts:
        raw = copy.deepcopy(base)
        for key, value in draft.changes:
            merge(raw, key, copy.deepcopy(value))
        spec, problems = resolve(raw, file.parts)
        changed = {key for key, _ in draft.changes}
        for key, text in problems:
            if (key, text) in known and not any(key[: len(c)] == c for c in changed):
                continue
            lines.append(f"{file.place(draft.place)}: arm {draft.name}: {dotted(key)}: {text}")
        if spec is not None and not lines:
            if file.experiment.match is not None and count is not None and arms:
                spec, wrong = _matched(file, draft, raw, spec, arms[0].spec, count)
                lines += wrong
            arms.append(Arm(draft.name, draft.axes, spec))
    if lines:
        raise SpecError(list(dict.fromkeys(lines)))
    return _once(file, arms)


def make_claims(file: ExperimentFile, arms: list[Arm]) -> list[ResolvedClaim]:
    """The experiment's claims, each between two of its arms.

    Raises:
        SpecError: an axis, a value or a metric that does not exist, with the nearest that do.
    """
    lines: list[str] = []
    claims: list[ResolvedClaim] = []
    for index, claim in enumerate(file.experiment.claim):
        try:
            claims += _resolve_claim(claim, arms, file)
        except SpecError as error:
            place = file.place(("claim", str(index)))
            lines += [f"{place}: claim: {line}" for line in error.problems]
    if lines:
        raise SpecError(lines)
    return claims


def metric_names(spec: Spec, file: ExperimentFile) -> dict[str, str]:
    """What a claim or a table may call a score -> the score's full name in results."""
    detector = file.parts.find("detector", spec.scoring.detector.name)
    full = spec.scoring.metric.name + detector.facts.get("score_suffix", f"[{detector.name}]")
    return {spec.scoring.metric.name: full, full: full, "validation_loss": "validation_loss"}


def _resolve_claim(claim: Claim, arms: list[Arm], file: ExperimentFile) -> Iterator[ResolvedClaim]:
    # On an axis, an arm stands for its value if it differs from the baseline on that axis alone.
    single = [arm for arm in arms if arm.name == BASELINE or len(_differing(arm, arms[0])) <= 1]
    by_axis: dict[str, dict[str, Arm]] = {}
    for arm in single or arms:
        for axis, label in arm.axes.items():
            if arm.name == BASELINE or axis in _differing(arm, arms[0]):
                by_axis.setdefault(axis, {})[label] = arm
    if claim.axis not in by_axis:
        raise SpecError(f"no axis {claim.axis!r}; {did_you_mean(claim.axis, by_axis)}")
    values = by_axis[claim.axis]
    for label in (claim.better, claim.worse):
        if label is not None and label not in values:
            raise SpecError(f"axis {claim.axis} has no value {label!r}; {did_you_mean(label, values)}")
    if claim.better == claim.worse:
        raise SpecError(f"better and worse are both {claim.better!r}")
    metrics = metric_names(values[claim.better].spec, file)
    if claim.metric not in metrics:
        raise SpecError(f"no metric {claim.metric!r}; {did_you_mean(claim.metric, metrics)}")
    others = [claim.worse] if claim.worse is not None else [label for label in values if label != claim.better]
    return iter([
        ResolvedClaim(claim.axis, claim.better, worse, values[claim.better].name, values[worse].name,
                      metrics[claim.metric], claim.direction)
        for worse in others
    ])  # fmt: skip


def _differing(arm: Arm, baseline: Arm) -> set[str]:
    return {axis for axis, label in arm.axes.items() if baseline.axes.get(axis) != label}


def label_of(value: Any) -> str:
    """How a value is called in arm names: `variant_4`, `0.0002`, `compression_frame(temporal_stride=4)`."""
    if isinstance(value, Mapping):
        rest = ",".join(f"{key}={label_of(item)}" for key, item in value.items() if key != "name")
        return f"{value.get('name', '')}({rest})" if rest else str(value.get("name", ""))
    if isinstance(value, (tuple, list)):
        return "[" + ",".join(label_of(item) for item in value) + "]"
    return {True: "true", False: "false", None: "null"}.get(value, str(value)) if not isinstance(value, (int, float)) or isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _axis_names(file: ExperimentFile) -> dict[str, str]:
    """Dotted key -> the shortest suffix that no other axis shares."""
    experiment = file.experiment
    keys = list(dict.fromkeys([*experiment.ablate, *experiment.grid, *experiment.zip]))
    names = {}
    for key in keys:
        steps = key.split(".")
        for length in range(1, len(steps) + 1):
            suffix = steps[-length:]
            if sum(other.split(".")[-length:] == suffix for other in keys) == 1:
                break
        names[key] = ".".join(suffix)
    return names


def _drafts(
    file: ExperimentFile, names: dict[str, str], baseline: Spec | None
) -> tuple[list[_Draft], list[str]]:
    experiment = file.experiment
    at_base = {name: _base_label(file, key, baseline) for key, name in names.items()}
    if experiment.arms:
        at_base[ARMS_AXIS] = BASELINE
    wrong: list[str] = []
    drafts: list[_Draft] = []

    def add(changes: list[tuple[str, Any]], place: Key) -> None:
        labels = {names[key]: label_of(value) for key, value in changes}
        name = ",".join(f"{axis}={label}" for axis, label in labels.items() if at_base[axis] != label)
        keyed = tuple((tuple(key.split(".")), value) for key, value in changes)
        drafts.append(_Draft(name or BASELINE, keyed, at_base | labels, place))

    for section in ("ablate", "grid", "zip"):
        for key, values in getattr(experiment, section).items():
            if key.split(".")[0] not in Spec.model_fields or "." not in key:
                wrong.append(f"{file.place((section, key))}: {section}: {key!r} is no dotted key of the spec, such as model.blocks")
            if not values:
                wrong.append(f"{file.place((section, key))}: {section}.{key}: needs at least one value")
    if len({len(values) for values in experiment.zip.values()}) > 1:
        lengths = ", ".join(f"{key} has {len(values)}" for key, values in experiment.zip.items())
        wrong.append(f"{file.place(('zip',))}: zip: linked values must be equally many: {lengths}")
    if wrong:
        return [], wrong
    for key, values in experiment.ablate.items():
        for index, value in enumerate(values):
            add([(key, value)], ("ablate", key, str(index)))
    if experiment.grid:
        for point in itertools.product(*experiment.grid.values()):
            add(list(zip(experiment.grid, point, strict=True)), ("grid",))
    for point in zip(*experiment.zip.values(), strict=True):
        add(list(zip(experiment.zip, point, strict=True)), ("zip",))
    for name, changes in experiment.arms.items():
        if name == BASELINE or not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
            wrong.append(f"{file.place(('arms', name))}: arms: {name!r} cannot name an arm; use letters, digits, _ . -")
        keyed = tuple((tuple(key.split(".")), value) for key, value in changes.items())
        drafts.append(_Draft(name, keyed, at_base | {ARMS_AXIS: name}, ("arms", name)))
    if experiment.ablate or experiment.arms or not drafts:
        drafts.insert(0, _Draft(BASELINE, (), at_base, ("base",)))
    return drafts, wrong


def _base_label(file: ExperimentFile, key: str, baseline: Spec | None) -> str:
    """The baseline's own value on an axis: as written, or the resolved default."""
    value: Any = file.experiment.base
    for step in key.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    if value is None and baseline is not None:
        resolved: Any = baseline.model_dump()
        for step in key.split("."):
            resolved = resolved.get(step) if isinstance(resolved, Mapping) else None
        value = resolved["name"] if isinstance(resolved, Mapping) else resolved
    return label_of(value)


def _once(file: ExperimentFile, arms: list[Arm]) -> list[Arm]:
    """Each science once; a grid point that repeats an earlier arm is that arm, a named arm that does is an error."""
    kept: dict[str, Arm] = {}
    taken: dict[str, Arm] = {}
    lines = []
    for arm in arms:
        same = kept.get(arm.identity)
        if same is None:
            if arm.name in taken:
                lines.append(f"{file.path}: two arms are called {arm.name!r}")
            kept[arm.identity] = taken[arm.name] = arm
        elif arm.name in file.experiment.arms:
            lines.append(f"{file.place(('arms', arm.name))}: arms.{arm.name}: is the same as arm {same.name!r}")
    if lines:
        raise SpecError(lines)
    return list(kept.values())


def _matched(
    file: ExperimentFile, draft: _Draft, raw: dict[str, Any], spec: Spec, baseline: Spec, count: Count
) -> tuple[Spec, list[str]]:
    """The arm at the depth that brings it nearest to the baseline, if that is within the tolerance."""
    match = file.experiment.match
    assert match is not None
    what, tolerance = ("parameters", match.parameters) if match.parameters is not None else ("macs", match.macs)
    if tolerance is None or (match.parameters is not None and match.macs is not None):
        return spec, [f"{file.place(('match',))}: match: give one of parameters and macs, such as 2%"]
    step = file.parts.find("blocks", spec.model.blocks.name).facts.get("depth_multiple", 1)
    target = count(baseline)[what]

    def at(depth: int) -> tuple[Spec | None, float]:
        deeper = copy.deepcopy(raw)
        merge(deeper, ("model", "depth"), depth)
        candidate, _ = resolve(deeper, file.parts)
        return (candidate, count(candidate)[what] / target - 1) if candidate else (None, float("inf"))

    # Parameters and MACs are affine in depth, so two depths give the line and the nearest whole depth.
    first, second = step, 2 * step
    slope = (at(second)[1] - at(first)[1]) / step
    wished = first - at(first)[1] / slope
    nearest = sorted({max(step, int(wished // step) * step + k * step) for k in (0, 1)})
    candidates = sorted((at(depth) for depth in nearest), key=lambda pair: abs(pair[1]))
    best, off = candidates[0]
    if best is None or abs(off) > tolerance:
        tried = "; ".join(f"depth {c.model.depth} is {o:+.1%}" for c, o in candidates if c is not None)
        return spec, [
            f"{file.place(draft.place)}: arm {draft.name}: no depth brings its {what} within {tolerance:.1%} of the "
            f"baseline's ({tried}); widen match, or change the width"
        ]
    return best, []


def select(arms: Iterable[Arm], patterns: Iterable[str]) -> list[Arm]:
    """The arms whose names match any of the fnmatch patterns (`!pattern` takes away); all arms for no pattern."""
    from fnmatch import fnmatchcase

    arms = list(arms)
    wanted = [p for p in patterns if not p.startswith("!")]
    unwanted = [p[1:] for p in patterns if p.startswith("!")]
    for pattern in (*wanted, *unwanted):
        if not any(fnmatchcase(arm.name, pattern) for arm in arms):
            raise SpecError(f"no arm matches {pattern!r}; {did_you_mean(pattern, [arm.name for arm in arms])}")
    return [
        arm
        for arm in arms
        if (not wanted or any(fnmatchcase(arm.name, p) for p in wanted))
        and not any(fnmatchcase(arm.name, p) for p in unwanted)
    ]
