"""How a value is called in arm names, claims and tables."""

import re
from collections.abc import Mapping
from typing import Any


def label_of(value: Any) -> str:
    """A value's label: `variant_4`, `0.0002`, `compression_frame(temporal_stride=4)`; 1 and 1.0 are both `1`."""
    if isinstance(value, Mapping):
        rest = ",".join(f"{key}={label_of(item)}" for key, item in value.items() if key != "name")
        name = str(value.get("name", ""))
        return f"{name}({rest})" if rest else name
    if isinstance(value, (tuple, list)):
        return "[" + ",".join(label_of(item) for item in value) + "]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)  # no two values share a label
    return str(getattr(value, "written", value))  # a path is called what the file calls it


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """A text as a terminal may be given it: control characters are shown, as `\\x1b` for one, and not obeyed.

    Newlines and tabs stay; so does every letter. Marks that reverse the direction of writing are shown as well.
    """
    return _CONTROL.sub(lambda found: ascii(found.group())[1:-1], text)
