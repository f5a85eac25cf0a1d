"""Shares as files write them: `5%` or 0.05."""

from typing import Any

from registry import strict_yaml


def share_of(value: Any) -> Any:
    """Return `5%` as 0.05, and what is no text as it is.

    Raises:
        ValueError: a text that is no percentage.
    """
    if isinstance(value, str) and value.endswith("%"):
        number = strict_yaml.plain(value[:-1].strip())
        if isinstance(number, (int, float)) and not isinstance(number, bool):
            return number / 100
    if isinstance(value, str):
        raise ValueError("expected a percentage such as 2%")
    return value
