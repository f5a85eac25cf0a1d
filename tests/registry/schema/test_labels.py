"""How values are called in arm names."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.schema.labels import label_of


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("variant_4", "variant_4"), (2e-4, "0.0002"), (1e-5, "1e-05"), (1, "1"), (1.0, "1"), (True, "true"),
        (False, "false"), (None, "null"), (0.1 + 0.2, "0.30000000000000004"), ((1, 2.0, "a"), "[1,2,a]"),
        ({"name": "ddim"}, "ddim"), ({"name": "ddim", "steps": 50, "eta": 0.0}, "ddim(steps=50,eta=0)"),
        ({"name": "outer", "inner": {"name": "x", "y": None}}, "outer(inner=x(y=null))"), ({"steps": 5}, "(steps=5)"),
    ],
)  # fmt: skip
def test_labels(value: Any, label: str) -> None:
    assert label_of(value) == label


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_two_numbers_share_a_label_only_if_they_are_equal(one: float, other: float) -> None:
    assert (label_of(one) == label_of(other)) == (one == other) or one == other == 0.0
