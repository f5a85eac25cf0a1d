"""Protocols by name: presets, YAML files, and those of scores that were measured; and where two differ."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from registry import strict_yaml
from registry.errors import SpecError, did_you_mean
from registry.experiment.experiment_file import merge
from registry.experiment.resolve import resolve_protocol
from registry.experiment.written import rooted
from registry.parts.catalogue import catalogue
from registry.runs.records import read_json
from registry.schema.differences import differing
from registry.schema.protocol import PRESETS, Protocol, describe, with_preset

MEASURED = ("scores.json", "result.json")


def load_protocol(name: str, overrides: Iterable[str] = (), plugins: tuple[str, ...] = ()) -> Protocol:
    """The protocol of a preset, of a YAML file with its keys, or of measured scores; `key=value` words change it.

    Args:
        name: of the preset or the file; a scores.json or a run folder stands for the protocol that it was measured by.
        overrides: `key=value` words.
        plugins: modules with further parts.

    Raises:
        SpecError: with one line for everything that is wrong.
    """
    where, lines = name, []
    if name in PRESETS:
        written: dict[str, Any] = {"protocol": name}
    elif (found := measured(Path(name))) is not None:
        stored = found["protocol"]
        written = {key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()}
    elif Path(name).suffix in (".yaml", ".yml"):
        document = strict_yaml.load(Path(name))
        lines += document.problems
        if not isinstance(document.value, dict):
            raise SpecError(f"{name}:1: a protocol is a mapping such as `protocol: clean`")
        written = rooted(document.value, Path(name).parent)
    else:
        kinds = "a preset, a YAML file, scores.json, or a run"
        raise SpecError(f"no protocol {name!r} ({kinds}); {did_you_mean(name, PRESETS)}")
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key:
            lines.append(f"{text}: write key=value, such as frames=16 or detector=i3d")
            continue
        if key.split(".")[0] not in Protocol.model_fields:
            lines.append(f"{text}: unknown key {key!r}; {did_you_mean(key, Protocol.model_fields)}")
            continue
        document = strict_yaml.parse(value, "command line", tuple(key.split(".")))
        lines += document.problems
        path = tuple(key.split("."))
        if len(path) > 1 and path[0] not in written:  # a parameter of a part that the preset names
            written[path[0]] = with_preset(written).get(path[0])
        merge({"scoring": written}, ("scoring", *path), rooted(document.value, Path()))
    protocol, problems = resolve_protocol(written, catalogue(plugins))
    lines += [f"{where}: {'.'.join(key)}: {message}" for key, message in problems]
    if lines or protocol is None:
        raise SpecError(lines)
    return protocol


def show(name: str, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """A protocol as nested plain values: a preset, a YAML file, or the bound protocols of a scores.json or run folder.

    Returns:
        Name of a score, or `protocol` -> nested values.

    Raises:
        SpecError: there is no such protocol.
    """
    if (found := measured(Path(name))) is not None:
        names: dict[str, list[str]] = {}
        for score, mark in found["protocols"].items():
            names.setdefault(mark, []).append(score)
        bounds = found["protocol_specs"]
        return {", ".join(scores): {"fingerprint": mark, **bounds[mark]} for mark, scores in names.items()}
    protocol = load_protocol(name, overrides)
    metrics = {metric.name: metric.parameters or "no parameters" for metric in protocol.metrics}
    opinions = [opinion.model_dump() for opinion in protocol.second_opinions or ()]
    parts = {"detector": protocol.detector.model_dump(), "metrics": metrics}
    more = {"second_opinions": opinions} if opinions else {}
    return {"protocol": {**describe(protocol), **parts, **more}}


def diff(left: str, right: str) -> list[tuple[str, Any, Any]]:
    """(key, left, right) wherever two protocols differ; of measured scores, those of the same name are compared."""
    a, b = show(left), show(right)
    shared = [name for name in a if name in b]
    if not shared:  # a preset beside a measured score: what both say
        (one, *_), (other, *_) = a.values(), b.values()
        return [row for row in differing(one, other) if row[0].split(".")[0] in one and row[0].split(".")[0] in other]
    return [
        (f"{name}: {key}" if len(shared) > 1 else key, *values)
        for name in shared
        for key, *values in differing(a[name], b[name])
        if key != "fingerprint"
    ]


def measured(path: Path) -> dict[str, Any] | None:
    """What a scores.json or a finished run folder says of its scores; None where the path is neither.

    Raises:
        SpecError: it was written by an older version and holds no protocols.
    """
    files = [path] if path.name in MEASURED else [path / name for name in MEASURED]
    found = next((read_json(file) for file in files if file.is_file()), None)
    if found is not None and not {"protocol", "protocol_specs"} <= found.keys():
        raise SpecError(f"{path}: holds no protocols; it was written by an older version")
    return found
