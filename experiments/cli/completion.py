"""What the shell may complete: keys and values of overrides, slots, sections and protocols.

Nothing here may fail: a word that cannot be completed gets no suggestions.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class

NO_KEYS_ON_THE_COMMAND_LINE = ("base", "set")


class Bash(BashComplete):
    """Bash's completion without a blank behind `key=`, where the value follows."""

    source_template = BashComplete.source_template.replace(
        "COMPREPLY+=($value)", "COMPREPLY+=($value)\n                [[ $value == *= ]] && compopt -o nospace"
    )


add_completion_class(Bash, "bash")


def overrides(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """`key.path=value` of an experiment: keys of the file and of the spec, and the values of those that have few."""
    return _override(context, incomplete, "")


def files_and_overrides(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What follows a verb that takes several files: a file, or an override."""
    given = context.params.get("words") or ()
    if not given or "/" in incomplete:
        return [CompletionItem(incomplete, type="file")]
    found = _override(context, incomplete, "")
    return found or [CompletionItem(incomplete, type="file")]


def protocol_overrides(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """`key=value` of a protocol."""
    return _override(context, incomplete, "scoring.")


def sections(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What `keys` takes: a section or a key."""
    from registry.experiment.keys import SECTIONS, all_keys
    from registry.parts.catalogue import catalogue

    with contextlib.suppress(Exception):
        found = [CompletionItem(name) for name in SECTIONS]
        found += [CompletionItem(info.key, help=info.meaning) for info in all_keys(catalogue())]
        return [item for item in found if item.value.startswith(incomplete)]
    return []


def slots(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Slots of the catalogue."""
    from registry.parts.catalogue import catalogue

    return _names(lambda: catalogue().slots, incomplete)


def protocols(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Presets of the protocol, beside files."""
    from registry.schema.protocol import PRESETS

    return [*_names(lambda: PRESETS, incomplete), CompletionItem(incomplete, type="file")]


def _names(give: Callable[[], Any], incomplete: str) -> list[CompletionItem]:
    with contextlib.suppress(Exception):
        return [CompletionItem(name) for name in give() if name.startswith(incomplete)]
    return []


def _override(context: click.Context, incomplete: str, prefix: str) -> list[CompletionItem]:
    key, equals, value = incomplete.partition("=")
    words = context.params.get("overrides") or (context.params.get("words") or ())[1:]
    before = [word for word in words if word != "="][-1:]  # bash cuts words at the sign
    with contextlib.suppress(Exception):
        if equals:
            return [CompletionItem(f"{key}={choice}") for choice in _choices(prefix + key) if choice.startswith(value)]
        if before and "=" not in before[0]:
            return [CompletionItem(one) for one in _choices(prefix + before[0]) if one.startswith(incomplete)]
        meanings = {name: meaning for name, meaning, _ in _keys() if name.startswith(prefix + key)}
        return [CompletionItem(f"{name.removeprefix(prefix)}=", help=meaning) for name, meaning in meanings.items()]
    return []


def _choices(key: str) -> tuple[str, ...]:
    return next((choices for name, _, choices in _keys() if name == key), ())


def _keys() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Every key that may stand in an override, with its meaning and its values if they are few."""
    from registry.experiment.keys import all_keys, slot_keys
    from registry.parts.catalogue import catalogue

    parts = catalogue()
    for info in all_keys(parts):
        if ".KEY" not in info.key and info.key not in NO_KEYS_ON_THE_COMMAND_LINE:
            yield info.key, info.meaning, info.choices
    for slot, key in slot_keys().items():
        for part in parts.names(slot):
            for name, about in parts.find(slot, part).describe()["parameters"].items():
                yield f"{key}.{name}", f"Of {part}: {about['type']}.", ()
