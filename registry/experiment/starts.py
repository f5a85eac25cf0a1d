"""Starts that an arm of another experiment makes: `{name: …, experiment: other.yaml, arm: baseline, seed: 0, step: 9}`.

A part with the parameters `experiment`, `arm`, `seed`, `step` and `training` can start from a training that is still to
be made. The identity of that training is filled in when the arm is resolved, and belongs to the identity of the arm;
the names of file and arm do not.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry.errors import SpecError, did_you_mean
from registry.experiment.experiment_file import ExperimentFile, load_experiment
from registry.schema.section import Part
from registry.schema.spec import Spec, slot_fields

_open: ContextVar[tuple[Path, ...]] = ContextVar("_open", default=())  # experiments that wait for their starts
# The specs of an experiment's arms by name, and everything that is wrong with it.
Resolve = Callable[[ExperimentFile], tuple[Mapping[str, Spec], Sequence[str]]]
Place = tuple[Path, tuple[str, ...]]  # a file and the overrides of it


@dataclass
class _Known:
    """What was read of the experiments that arms start from, while one experiment is resolved."""

    files: dict[Place, ExperimentFile] = field(default_factory=dict)
    arms: dict[Place, Mapping[str, Spec]] = field(default_factory=dict)


_known: ContextVar[_Known | None] = ContextVar("_known", default=None)  # None: nothing is being resolved


@dataclass(frozen=True)
class Start:
    """What an arm starts from.

    Args:
        key: (section, field) of the part that says so.
        experiment: the other experiment's file.
        overrides: of that file.
        arm: the name of its arm.
        seed: of all that start from it; None: each from its own.
        step: whose weights they are; None: the last of the training.
    """

    key: tuple[str, str]
    experiment: Path
    overrides: tuple[str, ...]
    arm: str
    seed: int | None
    step: int | None = None


@contextmanager
def read_once() -> Iterator[None]:
    """Read what arms start from once, however many do, as long as the outermost of these lasts: files change."""
    if _known.get() is not None:
        yield
        return
    token = _known.set(_Known())
    try:
        yield
    finally:
        _known.reset(token)


def _read(path: Path, overrides: tuple[str, ...] = ()) -> ExperimentFile:
    """An experiment that is started from.

    Raises:
        SpecError: it cannot be read.
    """
    known, place = _known.get() or _Known(), (path.resolve(), overrides)
    if place not in known.files:
        known.files[place] = load_experiment(path, overrides)
    return known.files[place]


def starts_of(spec: Spec) -> list[Start]:
    """Return what a spec starts from; a start without `data.path` of its own is given that of the spec."""
    found = []
    for section, name in slot_fields():
        part = getattr(getattr(spec, section), name)
        if isinstance(part, Part) and "training" in part.parameters and (path := part.parameters.get("experiment")):
            own = _read(Path(path)).experiment.base.get("data", {})
            given = spec.data.path is not None and isinstance(own, dict) and own.get("path") is None
            overrides = (f"data.path={spec.data.path}",) if given else ()
            values = part.parameters
            step = values.get("step")
            found.append(Start((section, name), Path(path), overrides, values["arm"], values["seed"], step))
    return found


def with_starts(spec: Spec, resolve: Resolve) -> tuple[Spec, list[tuple[tuple[str, ...], str]]]:
    """Return a spec with the trainings that it starts from filled in, and a problem for each that cannot be.

    Args:
        spec: resolved but for its starts.
        resolve: the arms of an experiment.
    """
    wrong: list[tuple[tuple[str, ...], str]] = []
    for key in slot_fields():
        part = getattr(getattr(spec, key[0]), key[1])
        if not (isinstance(part, Part) and "training" in part.parameters and part.parameters.get("experiment")):
            continue
        try:
            start = next(start for start in starts_of(spec) if start.key == key)
            arm = _arm_of(start, resolve)
        except SpecError as error:
            wrong += [((*key, "experiment"), text) for text in error.problems]
            continue
        if start.step is not None and start.step > (last := arm.learning.steps):
            text = (
                f"{start.experiment}, arm {start.arm}, makes {last} steps, so that there is no step {start.step} of it"
            )
            wrong.append(((*key, "step"), text))
            continue
        changed: Any = part.model_copy(update={"training": arm.training})
        section = getattr(spec, key[0]).model_copy(update={key[1]: changed})
        spec = spec.model_copy(update={key[0]: section})
    return spec, wrong


def _arm_of(start: Start, resolve: Resolve) -> Spec:
    """The spec of the arm that is started from."""
    known, place = _known.get() or _Known(), (start.experiment.resolve(), start.overrides)
    if place not in known.arms:
        known.arms[place] = _arms_at(start, resolve)
    arms = known.arms[place]
    if start.arm not in arms:
        raise SpecError(f"{start.experiment} has no arm {start.arm!r}; {did_you_mean(start.arm, arms)}")
    return arms[start.arm]


def _arms_at(start: Start, resolve: Resolve) -> Mapping[str, Spec]:
    """The specs of the arms of an experiment that is started from, by name.

    Raises:
        SpecError: it is wrong, or none of its arms can be a start.
    """
    place = start.experiment.resolve()
    if place in _open.get():
        raise SpecError(f"{start.experiment}: experiments start from each other in a circle")
    file = _read(start.experiment, start.overrides)
    if file.experiment.match is not None:
        raise SpecError(f"{start.experiment}: matches the depth of its arms (match), so that none can be a start")
    if file.experiment.tune is not None:
        raise SpecError(
            f"{start.experiment}: finds values of its arms by tuning (tune), so that none can be a start: write what "
            "was chosen into a file of its own, and start from that"
        )
    if file.experiment.screen is not None:
        raise SpecError(
            f"{start.experiment}: stops some of its arms on their way (screen), so that none can be a start: write the "
            "arm into a file of its own, and start from that"
        )
    token = _open.set((*_open.get(), place))
    try:
        arms, problems = resolve(file)
    finally:
        _open.reset(token)
    if problems:
        raise SpecError(problems)
    return arms
