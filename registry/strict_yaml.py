"""YAML as people expect it: the core schema of YAML 1.2, every value with its line, duplicate keys refused.

PyYAML's own rules read `1e-4` as text, `on` as true, `10:30` as 630 and keep the last of two equal keys silently.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from registry.errors import SpecError

Key = tuple[str, ...]

# libyaml is many times faster than PyYAML's own code; its wheels bring it, a build from source may not.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SafeDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

# YAML 1.2 core schema, section 10.3.2: what a plain scalar means.
_PLAIN: list[tuple[re.Pattern[str], Callable[[str], Any]]] = [
    (re.compile(r"null|Null|NULL|~|"), lambda text: None),
    (re.compile(r"true|True|TRUE"), lambda text: True),
    (re.compile(r"false|False|FALSE"), lambda text: False),
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"0o[0-7]+"), lambda text: int(text[2:], 8)),
    (re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text, 16)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)"), lambda text: float(text.replace(".", "", 1))),
    (re.compile(r"\.(nan|NaN|NAN)"), lambda text: float("nan")),
]


@dataclass
class Document:
    """A parsed file: plain values (sequences as tuples), and where each dotted key stands."""

    value: Any
    where: dict[Key, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def load(path: Path) -> Document:
    """Read a YAML file.

    Raises:
        SpecError: the file is absent or is not YAML; duplicate keys are left in `Document.problems` instead,
            so that they are reported together with everything else that is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = sorted(path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        listed = ", ".join(str(other) for other in near[:12])
        raise SpecError(f"{path}: no such file" + (f"; there is {listed}" if listed else "")) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: cannot be read: {error}") from None
    return parse(text, str(path))


def parse(text: str, name: str) -> Document:
    """Parse YAML text; `name` stands before the line in `Document.where`."""
    try:
        node = yaml.compose(text, Loader=_SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise SpecError(f"{name}{line}: not valid YAML: {getattr(error, 'problem', None) or error}") from None
    document = Document(None)
    try:
        document.value = _value(node, (), name, document) if node is not None else None
    except RecursionError:
        raise SpecError(f"{name}: an alias stands inside what it names") from None
    return document


def _value(node: yaml.Node, key: Key, name: str, document: Document) -> Any:
    document.where.setdefault(key, f"{name}:{node.start_mark.line + 1}")
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            child = str(key_node.value)
            where = f"{name}:{key_node.start_mark.line + 1}"
            if child in mapping:
                first = document.where[(*key, child)]
                document.problems.append(f"{where}: {'.'.join((*key, child))}: given twice (first at {first})")
                continue
            document.where[(*key, child)] = where
            mapping[child] = _value(value_node, (*key, child), name, document)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return tuple(_value(item, (*key, str(i)), name, document) for i, item in enumerate(node.value))
    if node.tag == "tag:yaml.org,2002:str" and getattr(node, "style", None) in ("'", '"', "|", ">"):
        return node.value
    return plain(node.value)


def plain(text: str) -> Any:
    """What an unquoted scalar means under YAML 1.2: null, a boolean, an integer, a float, or the text itself."""
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
    return [_listed(item) for item in value] if isinstance(value, (list, tuple)) else value


class _Dumper(_SafeDumper):
    """Writes floats so that they are read back as the same floats, and strings that look like numbers in quotes."""


def _float(dumper: Any, value: float) -> yaml.ScalarNode:
    text = {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(repr(value), repr(value))
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


def _text(dumper: Any, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain(text) == text else "'")


_Dumper.add_representer(float, _float)
_Dumper.add_representer(str, _text)
# PyYAML takes a float without a point for text, and would write a tag before it.
_POINTLESS = re.compile(r"^[-+]?[0-9]+[eE][-+]?[0-9]+$")
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _POINTLESS, list("-+0123456789"))
