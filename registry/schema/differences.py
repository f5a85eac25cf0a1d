"""Where two nested mappings differ."""

from collections.abc import Iterator, Mapping
from typing import Any


def differing(left: Any, right: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, left, right) wherever two nested mappings differ; tuples and lists of equal items are equal."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        for key in dict.fromkeys([*left, *right]):
            yield from differing(left.get(key), right.get(key), f"{prefix}.{key}" if prefix else str(key))
    elif _listed(left) != _listed(right):
        yield prefix, left, right


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
