"""One YAML file -> an `Experiment`: a base, the axes it varies, seeds, claims; read strictly, problems in one go."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from registry import strict_yaml
from registry.errors import SpecError, did_you_mean, shortened
from registry.experiment.resolve import model_problems
from registry.experiment.written import part_choice, rooted
from registry.parts.catalogue import Catalogue, catalogue
from registry.parts.discovery import built_in
from registry.parts.sources import file_of
from registry.schema.claim import Claim
from registry.schema.parameter_types import NonNegativeFloat, NonNegativeInt, PositiveInt
from registry.schema.percentages import share_of
from registry.schema.resources import Resources
from registry.schema.search import Screen, Search
from registry.schema.section import Section
from registry.schema.seeds import UntilDecided
from registry.schema.spec import Spec, default_part, slot_fields
from registry.schema.tune import Tune
from registry.schema.values import overlap
from registry.strict_yaml import Key

ARMS_AXIS = "arms"  # the axis that named arms stand on in claims and tables
MATCHED_AXIS = "matched"  # the axis of the ways in which arms are matched, where there are several
AXES = ("ablate", "grid", "zip")  # the sections whose keys are axes
BASELINE = "baseline"
MAX_NAME = 100  # characters of a name that names a folder: file systems bear 255 bytes, with what is put behind it


class Match(Section):
    """Arms are brought within a tolerance of the baseline by changing depth, or refused; in one way or in several.

    `macs` are the multiply-accumulates that this code evaluates for one clip, attention products included. The
    reference computes each modulation on as many rows as there are frames or locations: `macs_per_clip` counts them so,
    and `macs_paper_convention` is what the paper's table calls FLOPs (both are in `plan`).

    With several ways there is an arm for each of them, on an axis `matched`, and a claim is judged for each; an arm
    that two ways leave at one depth is one arm.
    """

    steps: bool = False
    """The arms as they are written as well: alike in steps alone."""
    parameters: NonNegativeFloat | None = None
    """How far parameters may be from the baseline's, such as 5%."""
    macs: NonNegativeFloat | None = None
    """How far the multiply-accumulates that are evaluated for a clip may be from the baseline's."""
    macs_per_clip: NonNegativeFloat | None = None
    """The same of a clip's multiply-accumulates as they are published, with repeated modulation rows."""
    macs_paper_convention: NonNegativeFloat | None = None
    """The same of what the paper's table calls FLOPs."""

    @field_validator("parameters", "macs", "macs_per_clip", "macs_paper_convention", mode="before")
    @classmethod
    def _percent(cls, value: Any) -> Any:
        """`2%` or 0.02."""
        return share_of(value)

    @model_validator(mode="after")
    def _a_tolerance(self) -> "Match":
        if not any(tolerance is not None for tolerance in self.ways.values()):
            raise ValueError(
                "give parameters or macs (or macs_per_clip, macs_paper_convention), such as {parameters: 2%}; "
                "for several ways of matching, several of them, and steps: true for the arms as they are written"
            )
        return self

    @property
    def ways(self) -> dict[str, float | None]:
        """What is matched, and the tolerance as a share; None for steps, which are equal as they are written."""
        given = {name: value for name, value in self if name != "steps" and value is not None}
        return {"steps": None, **given} if self.steps else given


class Every(Section):
    """Steps at equal distances: `{every: 1000}`."""

    every: PositiveInt
    """Steps from one evaluation to the next."""


# Keys that are worked into the others when a file is read.
READ_AWAY = {"set": "Changes of the base, by dotted key: for a base that is another file."}


class Experiment(Section):
    """The validated top level of an experiment file; the base and the variants stay as written until arms are made."""

    name: str = Field(default="", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=MAX_NAME)
    """Of the experiment and its folder under the runs; left out: that of the file."""
    about: str = ""
    """What it is about, in words."""
    base: dict[str, Any] = Field(default_factory=dict)
    """The sections of the spec that all arms share; or another experiment file, whose base and plugins are taken."""
    ablate: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    """Axes, by key of the spec: a list of values each, varied one key at a time against the base."""
    grid: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    """Axes whose values are combined, all with all."""
    zip: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    """Axes whose values are linked in order: the first of each, the second of each, and so on."""
    arms: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Named points that change several keys: by name, a mapping of keys to values."""
    seeds: tuple[NonNegativeInt, ...] | UntilDecided = (0,)
    """One replicate of each arm a seed: a list, or `{first: 3, most: 12}`, which adds them until claims are decided."""
    evaluate_at: tuple[NonNegativeInt, ...] | Every | None = None
    """Steps at which trainings are sampled and scored on their way, or `{every: 1000}`; the last step always is."""
    claim: tuple[Claim, ...] = Field(default=(), max_length=1000)
    """What is expected: one claim, or a list that is judged together."""
    match: Match | None = None
    """Arms are brought near the baseline by changing depth, or refused; in one way or several."""
    floors: tuple[Literal["real_halves", "reconstruction", "resampled"], ...] = (
        "real_halves",
        "reconstruction",
        "resampled",
    )
    """What is measured to show what a score is where nothing can be better."""
    resources: Resources = Resources()
    """What replicates may use of a machine or a cluster; not part of the identity."""
    search: Search | None = None
    """A search over keys of the spec, beside the arms."""
    screen: Screen | None = None
    """The worse arms are stopped early."""
    tune: Tune | None = None
    """Each arm finds its best values of some keys, such as its learning rate, before the seeds that count."""
    plugins: tuple[str, ...] = ()
    """Python modules with further parts, beside the file or installed."""

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, value: tuple[int, ...] | UntilDecided) -> tuple[int, ...] | UntilDecided:
        if isinstance(value, tuple) and (not value or len(set(value)) < len(value)):
            raise ValueError("expected at least one seed, each once")
        return value

    @property
    def until_decided(self) -> UntilDecided | None:
        """How seeds are added, where they are not listed."""
        return self.seeds if isinstance(self.seeds, UntilDecided) else None

    @property
    def scored_screen(self) -> Screen | None:
        """The screen, where it compares arms by a score of sampled clips."""
        return self.screen if self.screen is not None and self.screen.by_score else None

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """All seeds that there may be."""
        return self.seeds.seeds if isinstance(self.seeds, UntilDecided) else self.seeds


@dataclass
class ExperimentFile:
    """An experiment as read.

    Args:
        path: the file.
        experiment: its top level, as far as it is valid.
        parts: the catalogue that its plugins give.
        where: `file:line` (or `command line`) of each key.
        problems: what is wrong with the top level; `resolve_experiment` raises them with all others.
    """

    path: Path
    experiment: Experiment
    parts: Catalogue
    where: dict[Key, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def place(self, key: Key) -> str:
        """`file:line` (or `command line`) of a key, else of what was written below it, else around it."""
        below = (place for other, place in self.where.items() if other[: len(key)] == key)
        if key not in self.where and key and (place := next(below, None)) is not None:
            return place  # only a part of it was written, such as one parameter of a part
        for length in range(len(key), -1, -1):
            if key[:length] in self.where:
                return self.where[key[:length]]
        return str(self.path)

    def line(self, text: str, arms: Sequence[str], among: int) -> str:
        """A problem that a part found, with the place of the key that it names, and the arms where the base is right.

        Args:
            text: begins with a key of the spec.
            arms: that have it.
            among: how many arms were looked at.
        """
        key = tuple(text.split(":")[0].strip().split("."))
        if len(arms) == among or BASELINE in arms:
            return f"{self.place(('base', *key))}: {text}"
        place = self._changed_at(key, arms) or self.place(("base", *key))
        return f"{place}: arm {', '.join(dict.fromkeys(arms))}: {text}"

    def _changed_at(self, key: Key, arms: Sequence[str]) -> str | None:
        """Where an axis or one of the arms changes a key, if that is so."""
        for (section, *below), place in ((at, place) for at, place in self.where.items() if len(at) > 1):
            changed = below[:1] if section in AXES else below[1:2] if section == "arms" and below[0] in arms else []
            if changed and overlap(tuple(changed[0].split(".")), key):
                return place
        return None


def load_experiment(path: Path, overrides: Iterable[str] = ()) -> ExperimentFile:
    """Read an experiment file and apply `key.path=value` overrides.

    Keys of the top level that are wrong are left out of the experiment and told in `ExperimentFile.problems`, so that
    the rest can be checked in the same go.

    Raises:
        SpecError: a file that is absent or no YAML: nothing else can be checked.
    """
    raw, where, wrong, bases = _read(path, ())
    wrong += _override(raw, where, overrides)
    if isinstance(raw.get("claim"), dict):
        raw["claim"] = (raw["claim"],)
        where |= {("claim", "0", *key[1:]): place for key, place in where.items() if key[:1] == ("claim",) and key[1:]}
    raw.setdefault("name", path.stem)
    file = ExperimentFile(path, Experiment(name="unnamed"), catalogue(), where, wrong)
    found = list(model_problems(Experiment, raw))
    file.problems += [f"{file.place(key)}: {dotted(key)}: {text}" for key, text in found]
    for key in {key[0] for key, _ in found}:
        raw.pop(key, None)
    file.experiment = Experiment.model_validate({"name": "unnamed"} | raw)
    plugins = file.experiment.plugins
    try:
        if plugins:
            _refuse_beside_bases(path, bases, plugins)
            _make_importable(path.parent.resolve(), plugins)
        file.parts = catalogue(plugins)
    except SpecError as error:
        file.problems += [f"{file.place(('plugins',))}: {line}" for line in error.problems]
        file.parts = Catalogue(built_in(), incomplete=True)
    return file


def dotted(key: Key) -> str:
    """The key as users write it: without the `base.` that overrides leave out."""
    return ".".join(key[1:] if key[:1] == ("base",) and len(key) > 1 else key)


_folders: set[Path] = set()  # of experiments with plug-ins that this process has read
_added: set[Path] = set()  # those of them that were put on Python's path for it


def _refuse_beside_bases(path: Path, bases: Sequence[Path], plugins: Iterable[str]) -> None:
    """Refuse plug-ins that lie beside a base in another folder: a launch takes along what lies beside the experiment.

    Raises:
        SpecError: a line for each.
    """
    lines = []
    for name in plugins:
        module, found = f"{name.replace('.', '/')}.py", file_of(name)
        if (path.parent / module).is_file() or (found and not any(found.is_relative_to(own) for own in _added)):
            continue
        if base := next((base for base in bases if (base.parent / module).is_file()), None):
            lines.append(
                f"plugins: {name} lies beside the base {base}, and a launch takes along only modules that lie beside "
                f"the experiment: put {module} beside {path.name}, or install it as a package"
            )
    if lines:
        raise SpecError(lines)


def _make_importable(folder: Path, plugins: Iterable[str]) -> None:
    """Let plug-ins be found that lie beside the experiment which names them.

    Raises:
        SpecError: one has the name of another that lies beside an experiment read before; Python knows one a name.
    """
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
        _added.add(folder)
    for name in plugins:
        own, found = folder / f"{name.replace('.', '/')}.py", file_of(name)
        other = next((before for before in _folders - {folder} if found and found.is_relative_to(before)), None)
        if other and found and own.is_file() and own.read_bytes() != found.read_bytes():
            raise SpecError(
                f"plugins: {name} stands for {found} already, which an experiment in {other} names; give the two "
                f"experiments to two commands, or rename one of the modules"
            )
    _folders.add(folder)


def _read(path: Path, seen: tuple[Path, ...]) -> tuple[dict[str, Any], dict[Key, str], list[str], list[Path]]:
    """Return the file's mapping with `base: other.yaml` and `set:` worked in, places, problems, and the base files."""
    if path.resolve() in seen:
        raise SpecError(f"{path}: base files name each other in a circle: {' -> '.join(str(p) for p in (*seen, path))}")
    document = strict_yaml.load(path)
    raw, where, wrong = document.value, document.where, list(document.problems)
    if not isinstance(raw, dict):
        raise SpecError(f"{path}:1: an experiment is a mapping with a `base`, got {type(raw).__name__}")
    raw = {key: _rooted(key, value, path.parent) for key, value in raw.items()}
    bases: list[Path] = []
    if isinstance(raw.get("base"), str):
        other = path.parent / raw["base"]
        try:
            base, base_where, base_wrong, further = _read(other, (*seen, path.resolve()))
        except SpecError as error:
            raise SpecError([f"{where[('base',)]}: base: {line}" for line in error.problems]) from None
        wrong += base_wrong
        raw["base"] = base.get("base", {})
        where |= {key: place for key, place in base_where.items() if key[:1] == ("base",)}
        bases = [other, *further]
        if "plugins" in base:
            raw["plugins"] = _all_plugins(base["plugins"], raw.get("plugins", ()))
            where.setdefault(("plugins",), base_where.get(("plugins",), str(other)))
    if "set" in raw:
        changes = raw.pop("set")
        if not isinstance(changes, dict):
            wrong.append(f"{where[('set',)]}: set: expected a mapping of keys to values")
        elif isinstance(raw.setdefault("base", {}), dict):  # else it is told that the base is no mapping
            for key, value in changes.items():
                merge(raw["base"], tuple(key.split(".")), value)
                written = {k[2:]: place for k, place in where.items() if k[:2] == ("set", key)}
                where |= {("base", *key.split("."), *rest): place for rest, place in written.items()}
    return raw, where, wrong, bases


def _all_plugins(of_base: Any, own: Any) -> Any:
    """Return the plug-ins of a base and of an experiment, each once; what is no list is left, to be told."""
    if not isinstance(of_base, tuple) or not isinstance(own, tuple):
        return own if isinstance(of_base, tuple) else of_base
    return (*of_base, *(name for name in own if name not in of_base))


def _rooted(section: str, value: Any, folder: Path) -> Any:
    """A value of the top level with the relative paths of spec values made absolute (see `written.py`)."""
    if section == "arms" and isinstance(value, Mapping):
        return {name: rooted(changes, folder) for name, changes in value.items()}
    if section == "search" and isinstance(value, Mapping) and "space" in value:
        return {**value, "space": rooted(value["space"], folder)}
    if section in ("base", "set", "ablate", "grid", "zip") and isinstance(value, Mapping):
        return rooted(value, folder)
    return value


def merge(target: dict[str, Any], key: Key, value: Any) -> None:
    """Put `value` at a dotted key; mappings are merged, and a part named anew drops the old one's parameters."""
    *parents, last = key
    at: Key = ()
    for step in parents:
        at = (*at, step)
        if isinstance(target.get(step), str) and at in slot_fields():
            target[step] = part_choice(target[step])
        elif not isinstance(target.get(step), dict):
            target[step] = {"name": name} if (name := default_part(*at)) else {}
        target = target[step]
    old = target.get(last)
    if isinstance(value, Mapping) and isinstance(old, dict) and value.get("name", old.get("name")) == old.get("name"):
        for child, item in value.items():
            merge(old, (child,), item)
    else:
        target[last] = dict(value) if isinstance(value, Mapping) else value


def _override(raw: dict[str, Any], where: dict[Key, str], overrides: Iterable[str]) -> list[str]:
    wrong = []
    sections = set(Spec.model_fields) - {"plugins"}
    top_level = set(Experiment.model_fields)
    for text in overrides:
        name, equals, value_text = text.partition("=")
        place = f"command line: {shortened(text)}"
        key = tuple(name.strip().split("."))
        if not equals or not all(key) or name.startswith("+"):
            wrong.append(f"{place}: an override is written key.path=value")
            continue
        if key[0] not in sections | top_level:
            unknown = f"unknown key {shortened(key[0])!r}"
            wrong.append(f"{place}: {unknown}; {did_you_mean(key[0], sections | top_level)}")
            continue
        try:
            document = strict_yaml.parse(value_text, "command line", key)
        except SpecError as error:
            wrong += error.problems
            continue
        if document.problems:
            wrong += document.problems
            continue
        in_base = key[0] in sections
        full = ("base", *key) if in_base else key
        if in_base:
            base = raw.setdefault("base", {})
            if isinstance(base, dict):
                merge(base, key, rooted(document.value, Path(), key))
        elif len(key) == 1:
            # Axes, claims and the like are given anew: `ablate={}` takes them away.
            raw[key[0]] = _rooted(key[0], document.value, Path())
        elif isinstance(raw.get(key[0]), tuple):
            wrong.append(f"{place}: {key[0]} is a list here; give it anew, as {key[0]}=[…]")
            continue
        else:
            merge(raw, key, document.value)
        for other in [k for k in where if k[: len(full)] == full]:
            del where[other]
        where[full] = "command line"
    return wrong


def overridden(sections: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Return sections of a spec with `key.path=value` overrides applied, where there is no experiment file.

    Raises:
        SpecError: an override is not one, or is of a key that stands outside a spec's sections; all are named.
    """
    raw: dict[str, Any] = {"base": {name: dict(values) for name, values in sections.items()}}
    wrong = _override(raw, {}, overrides)
    wrong += [f"command line: {key}: is a key of experiments, not of one spec" for key in raw if key != "base"]
    if wrong:
        raise SpecError(wrong)
    base: dict[str, Any] = raw["base"]
    return base
