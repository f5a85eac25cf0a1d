"""Every key of an experiment file and of a spec, with type, default and meaning, read off the schema."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from registry.errors import SpecError, did_you_mean
from registry.experiment.experiment_file import READ_AWAY, Experiment
from registry.parts.catalogue import Catalogue
from registry.schema.section import Part, Section, Slot
from registry.schema.spec import Spec, slot_fields
from registry.schema.type_names import is_list, type_name

SECTIONS = [name for name in Spec.model_fields if name != "plugins"]
EXPERIMENT = ""  # the keys of an experiment that are no section of the spec
REQUIRED = object()


@dataclass(frozen=True)
class KeyInfo:
    """A key as `keys` prints it.

    Args:
        key: as in an override: keys of the spec without the `base` that they stand under in a file.
        section: the first word of a key of the spec, or `EXPERIMENT`.
        type: in words for people.
        default: as plain values; `REQUIRED` where the key must be given.
        meaning: in words.
        choices: the values, where they are few.
    """

    key: str
    section: str
    type: str
    default: Any
    meaning: str
    choices: tuple[str, ...] = ()

    def describe(self) -> dict[str, Any]:
        """The key as plain values; a key that must be given has no default."""
        default = {} if self.default is REQUIRED else {"default": self.default}
        about = {"key": self.key, "type": self.type, "choices": list(self.choices)}
        return {**about, "required": not default, **default, "meaning": self.meaning}


def all_keys(parts: Catalogue) -> list[KeyInfo]:
    """Every key: those of an experiment first, then those of each section of the spec.

    Args:
        parts: the catalogue whose parts the slots name.
    """
    found = list(_keys(Experiment, (), EXPERIMENT, parts))
    place = next(number for number, info in enumerate(found, 1) if info.key == "base")
    found[place:place] = [KeyInfo(key, EXPERIMENT, "mapping", {}, meaning) for key, meaning in READ_AWAY.items()]
    for section in SECTIONS:
        found += _keys(section_of(section), (section,), section, parts)
    return found


def keys_at(path: str | None, parts: Catalogue) -> list[KeyInfo]:
    """The keys at a dotted path: a section such as `learning` or `search`, or one key; all for None.

    Raises:
        SpecError: there is no such key.
    """
    found = all_keys(parts)
    if path is None:
        return found
    path = path.removeprefix("base.")
    at = [info for info in found if f"{info.key}.".startswith(f"{path}.")]
    if not at:
        raise SpecError(f"no key {path!r}; {did_you_mean(path, [*SECTIONS, *(info.key for info in found)])}")
    return at


def section_of(name: str) -> type[Section]:
    """The model of a section of the spec."""
    section = Spec.model_fields[name].annotation
    assert isinstance(section, type)
    assert issubclass(section, Section)
    return section


def _keys(model: type[BaseModel], path: Sequence[str], section: str, parts: Catalogue) -> Iterator[KeyInfo]:
    for name, info in model.model_fields.items():
        at = (*path, name)
        slot = next((mark.name for mark in info.metadata if isinstance(mark, Slot)), None)
        kind = f"part: {', '.join(parts.names(slot))}" if slot else _type(info)
        kind = f"list of {kind}" if slot and is_list(info.annotation) else kind
        kind = f"{kind} | null" if slot and NoneType in get_args(info.annotation) else kind
        choices = tuple(parts.names(slot)) if slot else tuple(_choices(info.annotation))
        meaning = " ".join((info.description or "").split())  # a docstring's lines are broken where they are long
        yield KeyInfo(".".join(at), section, kind, _default(info), meaning, choices)
        for below, step in _models_in(info.annotation):
            if not issubclass(model, below):  # as in resources.arms, whose values are resources again
                yield from _keys(below, (*at, *step), section, parts)


def slot_keys() -> dict[str, str]:
    """Slot -> the key of the spec that names its part, the first where there are several."""
    found: dict[str, str] = {}
    for key, slot in slot_fields().items():
        found.setdefault(slot, ".".join(key))
    return found


def _choices(annotation: Any) -> Iterator[str]:
    """The values of a type that has few: of a Literal, true and false, and null beside them."""
    if annotation is bool:
        yield from ("true", "false")
    elif get_origin(annotation) is Literal:
        yield from map(str, get_args(annotation))
    elif get_origin(annotation) in (Union, UnionType):
        found = [choice for kind in get_args(annotation) for choice in _choices(kind)]
        yield from [*found, "null"] if found else []


def _type(info: FieldInfo) -> str:
    return type_name(info.annotation, info.metadata)


def _models_in(annotation: Any) -> Iterator[tuple[type[BaseModel], tuple[str, ...]]]:
    """The sections that may stand at a key, and what stands between: KEY for a mapping by name."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _models_in(get_args(annotation)[0])
    elif origin in (Union, UnionType, tuple):
        for item in get_args(annotation):
            yield from _models_in(item)
    elif origin is dict:
        for model, step in _models_in(get_args(annotation)[1]):
            yield model, ("KEY", *step)
    elif isinstance(annotation, type) and issubclass(annotation, Section) and annotation.written_as == "mapping":
        yield annotation, ()


def _default(info: FieldInfo) -> Any:
    """The default as a file would have it; a section's is that of its keys."""
    default = info.get_default(call_default_factory=True)
    return REQUIRED if default is PydanticUndefined else _plain(default)


def _plain(value: Any) -> Any:
    if isinstance(value, Part):
        return value.name
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_defaults=True)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
