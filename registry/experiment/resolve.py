"""Raw mappings -> a resolved `Spec`, with everything that is wrong found in one go."""

from collections.abc import Iterable, Iterator, Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from registry.errors import SpecError, did_you_mean, shortened
from registry.experiment import compatibility
from registry.experiment.requirements import broken_rules
from registry.experiment.union_errors import as_written, below
from registry.experiment.written import part_choice
from registry.parts.catalogue import Catalogue, PartInfo
from registry.parts.start_files import digest_of
from registry.schema.protocol import FOLDERS, Protocol, with_preset
from registry.schema.section import Part
from registry.schema.sizes import SIZES, depth_of
from registry.schema.spec import Spec, sections, slot_fields
from registry.schema.type_names import is_list
from registry.schema.values import overlap

Key = tuple[str, ...]
Problem = tuple[Key, str]
UNTOLD = ""  # the message of a problem that follows from one that is told elsewhere


def resolve(raw: Mapping[str, Any], parts: Catalogue) -> tuple[Spec | None, list[Problem]]:
    """Validate one arm's raw sections, fill in every default, and check the combination.

    Args:
        raw: sections as written, e.g. `{"model": {"blocks": "variant_2"}}`.
        parts: the catalogue that part names are looked up in.

    Returns:
        The spec (None if anything is wrong), and the problems as (key, message).
    """
    spec, found = resolve_as_far_as_right(raw, parts)
    return (None if found else spec), found


def resolve_as_far_as_right(raw: Mapping[str, Any], parts: Catalogue) -> tuple[Spec | None, list[Problem]]:
    """As `resolve`, but where keys are wrong, with a spec of the others, so that these can be checked in the same go.

    Returns:
        The spec, with defaults where a problem's key says that what was written is wrong; None where nothing can be
        told without those keys. And the problems.
    """
    spec, found = validate(raw, parts)
    wrong_keys = [key for key, _ in found]
    if spec is None:
        spec, _ = validate(_without(raw, wrong_keys), parts)
    if spec is None:
        return None, found
    try:
        spec = _derive(spec, parts)
    except _WrongError as wrong:
        key = tuple(wrong.key.split("."))
        hidden = any(overlap(key[:1], other) for other in wrong_keys)  # it may follow from what is wrong
        return None, found if hidden else [*found, (key, wrong.message)]
    illegal = compatibility.problems(spec, parts, wrong_keys)
    return spec, [*found, *((tuple(key.split(".")), message) for key, message in illegal)]


def _without(raw: Mapping[str, Any], keys: Iterable[Key]) -> dict[str, Any]:
    """The sections without the keys, whole where it is a parameter of a part that is wrong."""
    kept = {section: dict(fields) if isinstance(fields, Mapping) else fields for section, fields in raw.items()}
    for section, *rest in filter(None, keys):
        if rest and isinstance(kept.get(section), dict):
            kept[section].pop(rest[0], None)
        else:
            kept.pop(section, None)
    return kept


def validate(raw: Mapping[str, Any], parts: Catalogue) -> tuple[Spec | None, list[Problem]]:
    """As `resolve`, but each value by itself: nothing is derived, and no combination refused."""
    values = {section: dict(fields) if isinstance(fields, dict) else fields for section, fields in raw.items()}
    if isinstance(values.setdefault("scoring", {}), dict):
        values["scoring"] = with_preset(values["scoring"])
    found: list[Problem] = []
    for (section, name), slot in slot_fields().items():
        fields, field = values.setdefault(section, {}), sections()[section].model_fields[name]
        if not isinstance(fields, dict):
            continue
        if fields.get(name) is not None:
            choose = _parts if is_list(field.annotation) else _part
            fields[name], wrong = choose(fields[name], slot, parts)
            found += [((section, name, *key), message) for key, message in wrong]
        elif name not in fields and isinstance(field.default, Part):
            fields[name], _ = _part(field.default.name, slot, parts)  # its parameters' defaults are written out as well
    try:
        spec = Spec.model_validate(values)
    except ValidationError as error:
        found += _told(Spec, error)
    return (None if found else spec), found


def model_problems(model: type[BaseModel], values: Any) -> Iterator[Problem]:
    """What pydantic finds wrong, in words for people."""
    try:
        model.model_validate(values)
    except ValidationError as error:
        yield from _told(model, error)


def _told(model: type[BaseModel], error: ValidationError) -> Iterator[Problem]:
    by_key: dict[Key, dict[str, None]] = {}
    for item in as_written(model, error.errors(include_url=False)):
        by_key.setdefault(_key(model, item["loc"]), {})[_message(model, item)] = None
    for key, messages in by_key.items():
        wanted = [message.split(", got ")[0].removeprefix("expected ") for message in messages]
        one = len(wanted) == 1 or not all(message.startswith("expected ") for message in messages)
        last = list(messages)[-1]
        yield key, last if one else f"expected {' or '.join(wanted)}, got {last.split(', got ', 1)[1]}"


def _key(model: type[BaseModel], loc: tuple[Any, ...]) -> Key:
    """Where an error is; pydantic puts the branch of a union behind the key, which nobody wrote."""
    key: list[str] = []
    annotation: Any = model
    for step in loc:
        if isinstance(step, str) and annotation is not None and not _has_keys(annotation):
            break
        key.append(str(step))
        annotation = below(annotation, str(step))
    return tuple(key)


def _has_keys(annotation: Any) -> bool:
    """Whether a value of this type has keys: a section, a part's parameters, a mapping."""
    kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return any(get_origin(kind) is dict or (isinstance(kind, type) and issubclass(kind, BaseModel)) for kind in kinds)


def _message(model: type[BaseModel], item: Any) -> str:
    kind, value = item["type"], item.get("input")
    if kind == "extra_forbidden":
        return f"unknown key; {did_you_mean(str(item['loc'][-1]), _fields_at(model, item['loc'][:-1]))}"
    if kind == "missing":
        return "missing; give it a value"
    if kind == "literal_error":
        choices = [name.strip("' ") for name in item["ctx"]["expected"].replace(" or ", ",").split(",")]
        return f"{shortened(repr(value))} is not a choice; {did_you_mean(str(value), choices)}"
    if kind == "model_type":
        return f"expected a valid dictionary, got {_shown(value)}"
    if kind == "string_pattern_mismatch":
        return f"{shortened(repr(value))} is not a name: letters, digits, and . _ - behind the first"
    expected: str = item["msg"].removeprefix("Value error, ")
    for said in ("Input should be ", "String should have ", "Tuple should have "):
        expected = f"expected {expected.removeprefix(said)}" if expected.startswith(said) else expected
    shown = "a mapping" if isinstance(value, Mapping) else _shown(value)
    return f"{expected}, got {shown}"


def _fields_at(model: type[BaseModel], loc: tuple[Any, ...]) -> list[str]:
    annotation: Any = model
    for step in loc:
        annotation = below(annotation, str(step))
    found = [kind for kind in (get_args(annotation) or (annotation,)) if isinstance(kind, type)]
    return [name for kind in found if issubclass(kind, BaseModel) for name in kind.model_fields]


def _part(written: Any, slot: str, parts: Catalogue) -> tuple[dict[str, Any], list[Problem]]:
    """A part as written (`name` or `{name: …, parameter: …}`) -> its name and all its parameters."""
    choice = part_choice(written) if isinstance(written, str) else written
    if not isinstance(choice, dict) or not isinstance(choice.get("name"), str):
        message = f"expected the name of a {slot}, or a mapping with `name`, got {_shown(written)}"
        return {"name": "?"}, [((), f"{message}; {did_you_mean('', parts.names(slot))}")]
    try:
        info = parts.find(slot, choice["name"])
    except SpecError as error:
        # Where a plug-in could not be read, an unknown part may be one of its: that is told there.
        return {"name": choice["name"]}, [((), UNTOLD if parts.incomplete else str(error))]
    given = {key: value for key, value in choice.items() if key != "name"}
    try:
        values = info.parameters.model_validate(given).model_dump()
        defaults = {name: info.parameters.model_fields[name].default for name in info.fact("only_if_said")}
        values = {name: value for name, value in values.items() if name not in defaults or value != defaults[name]}
    except ValidationError as error:
        return {"name": info.name}, [(key, _own(info, text)) for key, text in _told(info.parameters, error)]
    if values.get("path") and "sha256" in values and not values["sha256"]:
        try:
            values["sha256"] = digest_of(values["path"])
        except SpecError as error:
            return {"name": info.name}, [(("path",), text) for text in error.problems]
    return {"name": info.name, **values}, []


def _shown(value: Any) -> str:
    return f"{shortened(repr(value))} ({type(value).__name__})"


def _parts(written: Any, slot: str, parts: Catalogue) -> tuple[tuple[dict[str, Any], ...], list[Problem]]:
    """A list of parts as written, each name once; it may be empty."""
    choices = tuple(written) if isinstance(written, list | tuple) else (written,)
    found: list[dict[str, Any]] = []
    wrong: list[Problem] = []
    for number, choice in enumerate(choices):
        values, problems = _part(choice, slot, parts)
        wrong += [((str(number), *key), message) for key, message in problems]
        if any(values["name"] == other["name"] for other in found):
            wrong.append(((str(number),), f"{slot} {values['name']!r} is there twice"))
        found.append(values)
    return tuple(found), wrong


def _own(info: PartInfo, message: str) -> str:
    if message.startswith("unknown key") and not info.parameters.model_fields:
        return f"{info.slot} {info.name} has no parameters"
    return message


class _WrongError(Exception):
    def __init__(self, key: str, message: str) -> None:
        self.key, self.message = key, message


def _derive(spec: Spec, parts: Catalogue) -> Spec:
    """Fill in what follows from other choices: dimensions from the size, schedule and sampler from the objective."""
    model = _dimensions(spec, parts)
    objective = parts.find("objective", spec.diffusion.objective.name)
    schedule, sampler = spec.diffusion.noise_schedule, spec.sampling.sampler
    changes: dict[str, Any] = {"model": model}
    if schedule is None:
        schedules = compatibility.going_with(parts, "objective", objective.name, "noise_schedule")
        changes["diffusion"] = {"noise_schedule": _first(schedules, "noise_schedule", parts)}
    changes["sampling"] = {"step": spec.step}
    if sampler is None:
        samplers = compatibility.going_with(parts, "objective", objective.name, "sampler")
        changes["sampling"]["sampler"] = _first(samplers, "sampler", parts)
    if spec.learning.label_drop is None:
        changes["learning"] = {"label_drop": 0.1 if spec.conditional else 0.0}
    if spec.data.shortest_video is not None and spec.data.shortest_video <= spec.data.clip_frames:
        changes["data"] = {"shortest_video": None}  # says nothing that the clip does not
    open_keys = {key: value for key, value in _from_training(spec).items() if getattr(spec.scoring, key) is None}
    changes["scoring"] = open_keys
    values = spec.model_dump()
    for section, fields in changes.items():
        values[section].update(fields)
    return Spec.model_validate(values)


def _from_training(spec: Spec) -> dict[str, Any]:
    """What a protocol leaves open follows from the training: real clips are cut and resized as the model saw them."""
    data = spec.data
    return {
        "frames": data.frames,
        "picking": data.picking,
        "real_interval": data.interval,
        "fake_clips": spec.sampling.clips,
        "resolution": data.resolution,
        "transform": data.transform,
        "kernel": "bilinear",
        "antialias": data.antialias,
    }


def _first(names: Any, slot: str, parts: Catalogue) -> dict[str, Any]:
    if not names:
        raise _WrongError("diffusion.objective", f"no {slot} in the catalogue goes with this objective")
    return _part(names[0], slot, parts)[0]


def _dimensions(spec: Spec, parts: Catalogue) -> dict[str, Any]:
    model = spec.model
    if model.size is None:
        missing = [name for name in ("width", "heads", "depth") if getattr(model, name) is None]
        if missing:
            wanted = "give size (S, B, L, XL), or width, heads and depth"
            raise _WrongError("model", f"{wanted}; missing: {', '.join(missing)}")
        return {}
    size = SIZES[model.size]
    for name in ("width", "heads"):
        if getattr(model, name) not in (None, getattr(size, name)):
            has = f"size {model.size} has {name} {getattr(size, name)}"
            raise _WrongError(f"model.{name}", f"{has}; give size or {name}, not both")
    block_parameters = parts.find("blocks", model.blocks.name).fact("block_parameters")
    depth = model.depth or depth_of(model.size, block_parameters)
    return {"width": size.width, "heads": size.heads, "depth": depth}


def resolve_protocol(written: Mapping[str, Any], parts: Catalogue) -> tuple[Protocol | None, list[Problem]]:
    """A protocol on its own, for two folders: the written keys over the preset over `protocol.FOLDERS`."""
    values: dict[str, Any] = {**FOLDERS, **with_preset(written)}
    found: list[Problem] = []
    for name, slot, choose in (
        ("detector", "detector", _part), ("second_opinions", "detector", _parts), ("metrics", "metric", _parts)
    ):  # fmt: skip
        if values.get(name) is None:
            continue
        values[name], wrong = choose(values[name], slot, parts)
        found += [((name, *key), message) for key, message in wrong]
    found += model_problems(Protocol, values)
    if not values["metrics"] and not found:
        found.append((("metrics",), f"name at least one metric; {did_you_mean('', parts.names('metric'))}"))
    if found:
        return None, found
    protocol = Protocol.model_validate(values)
    by_rule = ((key.removeprefix("scoring."), text) for key, text in broken_rules({"scoring": protocol}, parts))
    told = [*compatibility.protocol_problems(protocol), *by_rule]
    found = [(tuple(key.split(".")), message) for key, message in told]
    return (None if found else protocol), found
