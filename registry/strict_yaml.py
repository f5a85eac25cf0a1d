"""YAML as people expect it: the core schema of YAML 1.2, every value with its line, duplicate keys refused.

PyYAML's own rules read `1e-4` as text, `on` as true, `10:30` as 630 and keep the last of two equal keys silently. What
is read is bounded before it is built: bytes, values (aliases count as often as they are used), nesting, integers.
"""

import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from registry.errors import SpecError, shortened

Key = tuple[str, ...]

MAX_BYTES = 2**22  # of a file
MAX_VALUES = 100_000  # of a file, counted where aliases are used
MAX_DEPTH = 100  # of values inside values

# libyaml is many times faster than PyYAML's own code; its wheels bring it, a build from source may not.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SafeDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def _integer(text: str) -> int:
    """The integer that a text says, to the base that its prefix names.

    Raises:
        ValueError: it takes more than 64 bits; nothing that is counted here is as large, and torch takes no such seed.
    """
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    digits = text[2:] if base != 10 else text
    if len(digits) > 64 or not -(2**63) <= (number := int(digits, base)) < 2**63:
        raise ValueError("an integer of more than 64 bits")
    return number


# YAML 1.2 core schema, section 10.3.2: what a plain scalar means.
_PLAIN: list[tuple[re.Pattern[str], Callable[[str], Any]]] = [
    (re.compile(r"null|Null|NULL|~|"), lambda text: None),
    (re.compile(r"true|True|TRUE"), lambda text: True),
    (re.compile(r"false|False|FALSE"), lambda text: False),
    (re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"), _integer),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)"), lambda text: float(text.replace(".", "", 1))),
    (re.compile(r"\.(nan|NaN|NAN)"), lambda text: float("nan")),
]
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and newline


@dataclass
class Document:
    """A parsed file: plain values (sequences as tuples), and where each dotted key stands."""

    value: Any
    where: dict[Key, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def load(path: Path) -> Document:
    """Read a YAML file.

    Raises:
        SpecError: the file is absent or is not YAML; what is wrong with single keys is left in `Document.problems`
            instead, so that it is reported together with everything else.
    """
    return parse(read(path), str(path))


def read(path: Path) -> str:
    """Return the text of a YAML file.

    Raises:
        SpecError: the file is absent, too long, or no text.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe has no end, a device neither
            raise OSError("is not a file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise OSError(f"has more than {MAX_BYTES // 2**20} MiB")
        return content.decode("utf-8")
    except FileNotFoundError:
        raise SpecError(f"{path}: no such file{_neighbours(path)}") from None
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # bytes that are no text, a path with a null character
        raise SpecError(f"{path}: cannot be read: {error}") from None


def _neighbours(path: Path) -> str:
    """A hint that names the YAML files that lie where another was looked for."""
    found = sorted(path.parent.glob("[!.]*.yaml")) if path.parent.is_dir() else []
    return f"; there is {', '.join(str(other) for other in found[:12])}" if found else ""


def parse(text: str, name: str, key: Key | None = None) -> Document:
    """Parse YAML text.

    Args:
        text: a document.
        name: of the file; stands before the line in `Document.where`.
        key: of a value that is written by itself, on the command line say; it has no lines.

    Raises:
        SpecError: the text is not YAML, or more than a spec has any use for.
    """
    document = Document(None)
    try:
        node = _compose(text)
        value = None if node is None else _Reader(name, document, key is None).value(node, key or ())
        document.value = None if value is _REFUSED else value
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f": {'.'.join(key)}" if key is not None else f":{mark.line + 1}" if mark else ""
        told = getattr(error, "problem", None) or str(error)
        raise SpecError(
            f"{name}{line}: {told if isinstance(error, _TooMuchError) else f'not valid YAML: {told}'}"
        ) from None
    except UnicodeError:
        raise SpecError(f"{name}: not valid YAML: not text in UTF-8") from None
    return document


class _TooMuchError(yaml.MarkedYAMLError):
    """More than a spec has any use for."""


@dataclass(slots=True)
class _Node:
    """A scalar, a list or a mapping (keys and values by turns), and the event that began it."""

    event: Any
    children: "list[_Node]" = field(default_factory=list)


def _compose(text: str) -> _Node | None:
    """The one document of a text, made from its events one by one: PyYAML's own way recurses, and may crash."""
    root: _Node | None = None
    open_nodes: list[_Node] = []
    anchors: dict[str, _Node] = {}
    for event in yaml.parse(text, Loader=_SafeLoader):
        if isinstance(event, yaml.CollectionEndEvent):
            open_nodes.pop()
        if not isinstance(event, yaml.NodeEvent):
            continue
        node = _named(event, anchors, open_nodes) if isinstance(event, yaml.AliasEvent) else _Node(event)
        if event.anchor is not None:
            anchors[event.anchor] = node
        if root is None:
            root = node
        elif open_nodes:
            open_nodes[-1].children.append(node)
        else:
            raise _error("expected a single document", event)
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append(node)
            _refuse_depth(len(open_nodes), event)
    return root


def _named(alias: Any, anchors: dict[str, _Node], open_nodes: list[_Node]) -> _Node:
    if alias.anchor not in anchors:
        raise _error(f"no anchor &{alias.anchor} before *{alias.anchor}", alias)
    if any(anchors[alias.anchor] is node for node in open_nodes):
        raise _error("an alias stands inside what it names", alias)
    return anchors[alias.anchor]


def _error(problem: str, event: Any, kind: type[yaml.MarkedYAMLError] = yaml.MarkedYAMLError) -> yaml.MarkedYAMLError:
    return kind(problem=problem, problem_mark=event.start_mark)


def _refuse_depth(depth: int, event: Any) -> None:
    if depth > MAX_DEPTH:
        raise _error(f"nested deeper than {MAX_DEPTH} lists and mappings", event, _TooMuchError)


class _Reader:
    """Nodes -> plain values, with the place of each and what is wrong with it.

    Args:
        name: stands before the line in places.
        document: takes places and problems.
        lines: whether places have a line.
    """

    def __init__(self, name: str, document: Document, lines: bool) -> None:
        self.name, self.document, self.lines, self.values = name, document, lines, 0

    def value(self, node: _Node, key: Key) -> Any:
        """The value of a node at a key; `_REFUSED` where something is wrong with it, which is then told."""
        event = node.event
        self.values += 1
        _refuse_depth(len(key), event)
        if self.values > MAX_VALUES:
            raise _error(f"more than {MAX_VALUES:,} values, counted where aliases are used", event, _TooMuchError)
        self.document.where.setdefault(key, self._place(node))
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            return self._refuse(node, key, f"tags such as {shortened(tag)} are not used here")
        if isinstance(event, yaml.MappingStartEvent):
            return {name: value for name, value in self._items(node, key) if value is not _REFUSED}
        if isinstance(event, yaml.SequenceStartEvent):
            items = (self.value(item, (*key, str(number))) for number, item in enumerate(node.children))
            return tuple(item for item in items if item is not _REFUSED)
        if wrong := _unprintable(event.value):
            return self._refuse(node, key, wrong)
        if event.style in ("'", '"', "|", ">"):
            return event.value
        try:
            return plain(event.value)
        except ValueError as error:
            return self._refuse(node, key, f"{shortened(event.value)} is {error}")

    def _items(self, node: _Node, key: Key) -> Iterator[tuple[str, Any]]:
        seen = set()
        for key_node, value_node in zip(node.children[::2], node.children[1::2], strict=True):
            if not isinstance(key_node.event, yaml.ScalarEvent):
                self._refuse(key_node, key, "expected a word as a key, got a list or a mapping")
                continue
            name = str(key_node.event.value)
            if wrong := _unprintable(name):
                self._refuse(key_node, key, f"a key has {wrong}")
                continue
            child = (*key, name)
            if name in seen:
                self._refuse(key_node, child, f"given twice (first at {self.document.where[child]})")
                continue
            seen.add(name)
            self.document.where[child] = self._place(key_node)
            yield name, self.value(value_node, child)

    def _place(self, node: _Node) -> str:
        return f"{self.name}:{node.event.start_mark.line + 1}" if self.lines else self.name

    def _refuse(self, node: _Node, key: Key, text: str) -> Any:
        self.document.problems.append(": ".join(filter(None, [self._place(node), ".".join(key), text])))
        return _REFUSED


_REFUSED = object()


def _unprintable(text: str) -> str:
    """What is wrong with a text that no terminal, path or table should be given; nothing where all is well."""
    found = _CONTROL.search(text)
    return f"the control character {found.group()!r}" if found else ""


def plain(text: str) -> Any:
    """What an unquoted scalar means under YAML 1.2: null, a boolean, an integer, a float, or the text itself.

    Raises:
        ValueError: an integer of more than 64 bits.
    """
    for pattern, convert in _PLAIN:
        if pattern.fullmatch(text):
            return convert(text)
    return text


def dump(value: Any) -> str:
    """YAML text that `parse` reads back to the same value (tuples become sequences)."""
    return yaml.dump(_listed(value), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    if isinstance(value, str):
        return str(value)  # also of a kind of text that PyYAML does not know
    return [_listed(item) for item in value] if isinstance(value, (list, tuple)) else value


class _Dumper(_SafeDumper):
    """Writes floats so that they are read back as the same floats, and strings that look like numbers in quotes."""


def _float(dumper: Any, value: float) -> yaml.ScalarNode:
    text = {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(repr(value), repr(value))
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


def _text(dumper: Any, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if _is_text(text) else "'")


def _is_text(text: str) -> bool:
    try:
        return bool(plain(text) == text)
    except ValueError:
        return False


_Dumper.add_representer(float, _float)
_Dumper.add_representer(str, _text)
# PyYAML takes a float without a point for text, and would write a tag before it.
_POINTLESS = re.compile(r"^[-+]?[0-9]+[eE][-+]?[0-9]+$")
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _POINTLESS, list("-+0123456789"))
