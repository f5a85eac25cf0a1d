"""What the parts of a spec ask of the rest of it: each part's own rules, judged with the spec's values."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from registry.parts.catalogue import Catalogue
from registry.parts.rules import AbsentError, Look
from registry.schema.section import Part, Section
from registry.schema.spec import slot_fields
from registry.schema.values import overlap
from registry.strict_yaml import Key


def broken_rules(
    sections: Mapping[str, Section], parts: Catalogue, unknown: Collection[Key] = ()
) -> Iterator[tuple[str, str]]:
    """Give (dotted key, message) of each rule that does not hold, in the order of the schema's slots.

    Args:
        sections: those of a resolved spec, by name, or as many as there are; rules about the others do not apply.
        parts: the catalogue.
        unknown: keys whose values nobody wrote, since what was written is wrong; rules about them do not apply.
    """
    for (section, key), slot in slot_fields().items():
        written = getattr(sections[section], key) if section in sections else None
        for number, choice in enumerate(written if isinstance(written, tuple) else (written,)):
            if choice is not None and not any(overlap(other, (section, key)) for other in unknown):
                place = f"{section}.{key}.{number}" if isinstance(written, tuple) else f"{section}.{key}"
                look = _look(_values(slot, choice, parts), sections, parts, unknown)
                yield from _broken(slot, choice, place, look, parts)


def _broken(slot: str, choice: Part, place: str, look: Look, parts: Catalogue) -> Iterator[tuple[str, str]]:
    info = parts.find(slot, choice.name)
    for rule in info.rules:
        key = rule.key if not rule.own else f"{place}.{rule.key}" if rule.key else place
        try:
            message = rule.broken(look)
        except ValueError as error:
            message = f"{slot} {info.name} ({info.where}): {error}"
        if message is not None:
            yield key, message


def _values(slot: str, choice: Part, parts: Catalogue) -> dict[str, Any]:
    """Return what a chosen part says by bare names: its name, its facts, and over them its parameters."""
    info = parts.find(slot, choice.name)
    left_out = {name: info.parameters.model_fields[name].default for name in info.fact("only_if_said")}
    return {**info.known_facts(), **left_out, **choice.parameters, "name": choice.name}


def _look(own: Mapping[str, Any], sections: Mapping[str, Section], parts: Catalogue, unknown: Collection[Key]) -> Look:
    """Return what finds the value of a name in a part's rules; see `registry.parts.rules` for the names."""

    def look(name: tuple[str, ...]) -> Any:
        if len(name) == 1:
            return own[name[0]]
        section, key, *more = name
        if section not in sections or any(overlap(other, name) for other in unknown):
            raise AbsentError(name)
        value = getattr(sections[section], key)
        if (section, key) not in slot_fields():
            return value
        if not more:
            return tuple(part.name for part in value) if isinstance(value, tuple) else value and value.name
        known = _values(slot_fields()[section, key], value, parts) if isinstance(value, Part) else {}
        if more[0] not in known:
            raise AbsentError(name)
        return known[more[0]]

    return look
