"""The paper's model sizes (table 1) and the depth rule of its table of variants.

It lives in the registry because a size is a name that a spec resolves to numbers; it is needed where torch is not.
"""

from typing import NamedTuple


class Size(NamedTuple):
    depth: int
    width: int
    heads: int


# Source: paper, table 1; the parameter column is that of the unconditional patch-2 network (golden README, 6).
SIZES = {
    #            depth  width  heads      paper, M parameters
    "S":  Size(     12,   384,     6),  #  32.48
    "B":  Size(     12,   768,    12),  # 129.54
    "L":  Size(     24,  1024,    16),  # 456.81
    "XL": Size(     28,  1152,    16),  # 673.68
}  # fmt: skip


def depth_of(size: str, block_parameters: float) -> int:
    """The depth at which a block variant has about the parameters of variant 1 at that size.

    The paper's XL models have 28 blocks in variants 1 and 2 and 23 in variants 3 and 4: a block of variant 1
    has 18 width^2 parameters, one of variant 3 or 4 has 22 width^2, and 28 * 18 / 22 = 22.9.

    Args:
        size: a key of `SIZES`.
        block_parameters: learned parameters of one block, in units of width^2.
    """
    return round(SIZES[size].depth * 18 / block_parameters)
