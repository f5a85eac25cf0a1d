"""Keys of a spec and the values at them, so that arms which agree in some share what follows from these."""

import json
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from registry.schema.spec import Spec
from registry.strict_yaml import Key

# The keys of a spec that decide its network and the shape of what it is trained on: arms that agree in them have one
# count, whatever else they differ in.
NETWORK = (
    *("model", "data.frames", "data.resolution", "data.autoencoder", "data.text_encoder", "diffusion"),
    *("learning.label_drop", "learning.joint_images"),
)


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


def overlap(key: Key, other: Key) -> bool:
    """Return whether one of two keys stands at or below the other."""
    return key[: len(other)] == other or other[: len(key)] == key
