"""The values at some keys of a spec, so that arms which agree in them share what follows from them."""

import json
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from registry.schema.spec import Spec


def values_at(spec: Spec, keys: Iterable[str]) -> str:
    """The values at some dotted keys of a spec, as a text that is the same for equal values."""
    values = []
    for key in keys:
        value: Any = spec
        for step in key.split("."):
            value = getattr(value, step)
        many = value if isinstance(value, tuple) else (value,)
        values.append([v.model_dump(mode="json") if isinstance(v, BaseModel) else v for v in many])
    return json.dumps(values)
