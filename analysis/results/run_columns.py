"""A replicate's stored spec -> columns: a key each, with the type that the spec has."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from registry.schema.spec import Part, Spec


def spec_values(spec: Spec) -> dict[str, Any]:
    """Return the science of a spec by dotted key, and where its data lie.

    A part stands under its slot's key by name (`sampling.sampler`), its parameters below it (`sampling.sampler.steps`).
    """
    found: dict[str, Any] = {}
    for section in (*spec.science(), "runtime"):
        for name, value in getattr(spec, section):
            _put(found, f"{section}.{name}", value)
    return found


def typed(columns: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """Return columns as a frame, each of the type of its values; None becomes a missing value of that type.

    Whole numbers become Int64, truth values boolean, numbers float64, texts str; what is mixed stays as it is.
    """
    return pd.DataFrame({name: pd.Series(list(values), dtype=_dtype(values)) for name, values in columns.items()})


def _dtype(values: Sequence[Any]) -> str:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return "boolean"
    if kinds == {int}:
        return "Int64"
    if kinds and kinds <= {int, float}:
        return "float64"
    return "str" if kinds == {str} else "object"


def _put(found: dict[str, Any], key: str, value: Any) -> None:
    if isinstance(value, Part):
        found[key] = value.name
        for name, own in value.parameters.items():
            _put(found, f"{key}.{name}", own)
    elif isinstance(value, (tuple, list)):
        found[key] = ", ".join(one.name if isinstance(one, Part) else str(one) for one in value)
    else:
        found[key] = value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
