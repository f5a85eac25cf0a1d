"""The types that a part's parameters may have, as annotations that say what values are allowed.

A part is read from its source (see `registry.parts.catalogue`), so its annotations may use only the names in
`NAMES`: the plain types, `Literal`, unions with `None`, `tuple`, and the constrained numbers below.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
JpegQuality = Annotated[int, Field(ge=1, le=100)]
Crf = Annotated[int, Field(ge=0, le=51)]
# What is built before it is known to be of use has a bound far beyond any use, so that `check` ends in time.
Count = Annotated[int, Field(gt=0, le=1_000_000)]  # of what is made or held one by one
Tally = Annotated[int, Field(ge=0, le=1_000_000)]  # the same, where there may be none
Side = Annotated[int, Field(gt=0, le=8192)]  # of a frame, in pixels
Frames = Annotated[int, Field(gt=0, le=8192)]  # of a clip

NAMES: dict[str, Any] = {
    "int": int,
    "float": float,
    "str": str,
    "bool": bool,
    "tuple": tuple,
    "Literal": Literal,
    "PositiveInt": PositiveInt,
    "NonNegativeInt": NonNegativeInt,
    "PositiveFloat": PositiveFloat,
    "NonNegativeFloat": NonNegativeFloat,
    "Fraction": Fraction,
    "Count": Count,
    "Tally": Tally,
}
