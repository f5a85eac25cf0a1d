"""`key.path=value` of how a trained network is sampled."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from registry import strict_yaml
from registry.errors import SpecError
from registry.experiment.experiment_file import merge
from registry.experiment.written import rooted

# Keys of the spec, and the options that say them on the command line.
OPTIONS = {
    "sampling.sampler.steps": "--steps", "sampling.sampler": "--sampler", "sampling.guidance": "--guidance",
    "sampling.clips": "--num", "sampling.step": "--step", "sampling.seed": "--seed", "data.frames": "--frames",
    "data.resolution": "--resolution", "runtime.sampling_batch": "--batch",
}  # fmt: skip


def override(raw: dict[str, Any], text: str, free: Sequence[str]) -> list[str]:
    """Put `key.path=value` into sections of a spec; return what is wrong with it.

    Args:
        raw: the sections.
        text: as written on the command line.
        free: keys that may be said otherwise, with all below them.
    """
    key, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_][\w.]*", key):
        return [f"command line: {text}: an override is written key.path=value"]
    if not any(key == one or key.startswith(f"{one}.") for one in free):
        option = f" ({OPTIONS[key]} says it here)" if key in OPTIONS else ""
        legal = f"only {', '.join(free[:-1])} and {free[-1]} can be said otherwise"
        return [f"command line: {key}: is what the network was trained with{option}; {legal}"]
    path = tuple(key.split("."))
    try:
        document = strict_yaml.parse(value, "command line", path)
    except SpecError as error:
        return error.problems
    if not document.problems and len(path) == 1 and not isinstance(document.value, dict):
        example = f"{key}.{next(iter(raw.get(key, {})), 'key')}"
        return [f"command line: {key}: is a section: name a key of it, as in {example}"]
    if not document.problems:
        merge(raw, path, rooted(document.value, Path(), path))
    return list(document.problems)
