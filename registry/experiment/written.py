"""Values as files write them: parts in one word, values with a label, and paths that are relative to their file."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from registry import strict_yaml
from registry.errors import SpecError
from registry.schema.labels import label_of
from registry.schema.spec import slot_fields

_IN_ONE_WORD = re.compile(r"([A-Za-z0-9_.-]+)\((.+)\)", re.DOTALL)
LABELLED = frozenset({"value", "label"})
DATA_PATH = ("data", "path")  # the key whose value is a path, however it begins
PATHS = (("path",), ("experiment",))  # parameters of parts that are paths, however they begin
RELATIVE = ("./", "../")  # how other texts begin that are paths


def part_choice(text: str) -> dict[str, Any]:
    """Return a part that is written in one word as a mapping: `ddim`, or as labels have it, `ddim(steps=25,eta=0.5)`.

    A text of another form is a name, which no part will have.
    """
    found = _IN_ONE_WORD.fullmatch(text)
    pairs = [piece.partition("=") for piece in _pieces(found.group(2))] if found else []
    if not found or not all(key.strip() and equals for key, equals, _ in pairs):
        return {"name": text}
    choice: dict[str, Any] = {"name": found.group(1)}
    for key, _, value in pairs:
        try:
            document = strict_yaml.parse(value, "", ())
        except SpecError:
            return {"name": text}
        if document.problems or key.strip() in choice:
            return {"name": text}
        choice[key.strip()] = document.value
    return choice


def _pieces(text: str) -> Iterator[str]:
    """A text cut at the commas that stand in no bracket."""
    depth = start = 0
    for at, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            yield text[start:at]
            start = at + 1
    yield text[start:]


def labelled(entry: Any) -> tuple[Any, str]:
    """Return the value and the label of an axis's entry: `{value: …, label: …}`, or a value that is its own label."""
    if isinstance(entry, Mapping) and entry.keys() == LABELLED:
        return entry["value"], label_of(entry["label"])
    return entry, label_of(entry)


class FilePath(str):
    """A path that a file gave relative to itself: absolute as a value, and as it was written in labels."""

    written: str


def rooted(value: Any, folder: Path, key: strict_yaml.Key = ()) -> Any:
    """Return a value with its relative paths made absolute.

    Args:
        value: as written, of any depth.
        folder: of the file that holds it, or the current one.
        key: where the value stands in the spec.
    """
    if isinstance(value, Mapping):
        return {name: rooted(item, folder, (*key, *name.split("."))) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return tuple(rooted(item, folder, key) for item in value)
    if not isinstance(value, str) or isinstance(value, FilePath):
        return value
    named = key[:2] == DATA_PATH or (key[:2] in slot_fields() and tuple(k for k in key[2:] if k != "value") in PATHS)
    is_path = value.startswith(RELATIVE) or (named and not value.startswith("~"))
    if not is_path or not value or os.path.isabs(value):
        return value
    path = FilePath(os.path.normpath(folder.absolute() / value))
    path.written = value
    return path
