"""What a file of weights holds, read without running code and before it is known which network it is of."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from components.unpickling import load_tensors
from registry.errors import RunError, SpecError, shortened
from registry.schema.spec import Spec

Entries = dict[str, Tensor]

COMPILED = "_orig_mod."  # stands before every name of a network that torch.compile has wrapped
EMA, MODEL, FLAT = (
    "ema",
    "model",
    "weights",
)  # averaged weights, those of the last step, and those of which nothing says
KINDS = (EMA, MODEL, FLAT)  # in the order in which they are preferred
SAFETENSORS = ".safetensors"


@dataclass(frozen=True)
class Contents:
    """What a file of weights holds.

    Attributes:
        path: the file, or the folder.
        weights: kind of weights (of `KINDS`) -> its entries under the names of the file, without a compiled prefix.
        wrapping: how they lie in the file: plain (model and ema), joint (ema alone), model alone, flat, or Lightning.
        compiled: whether names had the prefix of a compiled network.
        others: names of what the file has beside the weights.
        metadata: texts of a safetensors file's header.
        step: of the training, where the file says it.
        spec: how it was trained, or is to be used, where a run folder says it.
        prefers: the kind of weights that is taken where none is named; left out: the average, else the model's.
        sha256: that the file should have, where a record says it.
    """

    path: Path
    weights: Mapping[str, Entries]
    wrapping: str
    compiled: bool = False
    others: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    step: int | None = None
    spec: Spec | None = None
    prefers: str = ""
    sha256: str = ""

    def kind(self, wanted: str | None = None) -> str:
        """Return the kind of weights that is meant.

        Args:
            wanted: by the user.

        Raises:
            SpecError: there is none of that kind.
        """
        kind = wanted or self.prefers or next(kind for kind in KINDS if kind in self.weights)
        if kind not in self.weights:
            raise SpecError(f"{self.path}: has no weights {kind!r}, but {' and '.join(self.weights)}")
        return kind


def read_file(path: Path) -> Contents:
    """Return what a file of weights holds; tensors stay in the file until they are used.

    Raises:
        SpecError: there is no such file.
        RunError: it is damaged, would run code, or holds something else than weights; the message says what was seen.
    """
    if not path.is_file():
        raise SpecError(f"there is no file {str(path)!r}")
    if path.suffix == SAFETENSORS:
        return _read_safetensors(path)
    return _unwrapped(path, load_tensors(path, "checkpoint", mapped=True))


def _read_safetensors(path: Path) -> Contents:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            entries = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise RunError(f"{path}: no checkpoint can be read from it: {error}") from error
    groups = _by_prefix(entries, KINDS)
    return _checked(path, groups or {FLAT: entries}, metadata=metadata)


def _unwrapped(path: Path, content: Any) -> Contents:
    """The weights in what a pickle holds: in "ema" and "model", in Lightning's "state_dict", or the whole of it."""
    if not isinstance(content, dict):
        raise RunError(f"{path}: holds no dictionary of tensors but {_kind(content)}")
    step = content.get("step", content.get("global_step"))
    step = step if type(step) is int else None
    others = tuple(str(name) for name in content if name not in (EMA, MODEL, "state_dict"))
    groups = {kind: content[kind] for kind in (MODEL, EMA) if isinstance(content.get(kind), dict)}
    if groups:
        return _checked(path, groups, others=others, step=step)
    if isinstance(content.get("state_dict"), dict):
        state = _entries(path, content["state_dict"])
        groups = _by_prefix(state, (EMA, MODEL)) or {FLAT: state}
        return _checked(path, groups, "Lightning", others=others, step=step)
    return _checked(path, {FLAT: content})


def _by_prefix(entries: Entries, kinds: tuple[str, ...]) -> dict[str, Entries]:
    """Entries called `ema.…` and `model.…`, by kind; empty where one of them is called otherwise."""
    found: dict[str, Entries] = {}
    for name, value in entries.items():
        kind, _, rest = name.partition(".")
        if kind not in kinds:
            return {}
        found.setdefault(kind, {})[rest] = value
    return found


def _checked(path: Path, groups: Mapping[str, Any], wrapping: str = "", **more: Any) -> Contents:
    alone = next(iter(groups)) if len(groups) == 1 else ""
    wrapping = wrapping or {EMA: "joint", MODEL: "model alone", FLAT: "flat"}.get(alone, "plain")
    weights = {kind: _entries(path, group) for kind, group in groups.items()}
    compiled = any(name.startswith(COMPILED) for entries in weights.values() for name in entries)
    plain = {
        kind: {name.removeprefix(COMPILED): value for name, value in entries.items()}
        for kind, entries in weights.items()
    }
    return Contents(path, plain, wrapping, compiled, **more)


def _entries(path: Path, group: Any) -> Entries:
    """A dictionary of tensors that are what they claim to be.

    Raises:
        RunError: it is not one; what was seen is named.
    """
    if not isinstance(group, dict) or not group:
        raise RunError(f"{path}: holds no dictionary of tensors but {_kind(group)}")
    for name, value in group.items():
        if why := _unsound(name, value):
            raise RunError(f"{path}: holds no dictionary of tensors: {why}")
    return {name: value.detach() for name, value in group.items()}


def _unsound(name: Any, value: Any) -> str:
    """Why an entry is no weight, empty where it is one."""
    if not isinstance(name, str):
        return f"a name is {_kind(name)}"
    if not isinstance(value, Tensor):
        return f"{shortened(name)!r} is {_kind(value)}"
    if value.layout is not torch.strided or value.is_quantized or not value.is_floating_point():
        return f"{shortened(name)!r} holds {str(value.dtype).removeprefix('torch.')}, not floating-point numbers"
    if not value.numel():
        return f"{shortened(name)!r} is empty"
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        return f"{shortened(name)!r} claims {value.numel():,} numbers, more than lie in the file"
    return ""


def _kind(value: Any) -> str:
    """What a value is, for people: "a list of 3", "an empty dictionary", "text"."""
    for kind, word in ((dict, "dictionary"), (list, "list"), (tuple, "tuple")):
        if isinstance(value, kind):
            keys = ", ".join(repr(shortened(str(key), 30)) for key in list(value)[:4]) if kind is dict else ""
            return f"a {word} of {len(value)}" + (f" ({keys}{', …' if len(value) > 4 else ''})" if keys else "")
    return {str: "text", Tensor: "one tensor"}.get(type(value), f"a value of type {type(value).__name__}")


def seen(contents: Contents) -> Iterator[str]:
    """Yield what a file holds, in words, for the message about one that is of no layout."""
    for kind, entries in contents.weights.items():
        names = ", ".join(f"{name} {tuple(value.shape)}" for name, value in list(entries.items())[:3])
        called = "" if kind == FLAT else f" in {kind!r}"
        yield f"{len(entries)} tensors{called}: {names}{', …' if len(entries) > 3 else ''}"
