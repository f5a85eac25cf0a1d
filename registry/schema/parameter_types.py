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
}
