"""What float32's rounding allows two machines to differ by.

IEEE 754 fixes every sum, product and quotient, but not whether a product and a sum are rounded once (FMA) or twice, in
which order a sum is taken, nor the last bit of exp, sin and cos. So the same formula gives other last bits on another
processor, or on the same one with other instructions (ATEN_CPU_CAPABILITY, ONEDNN_MAX_CPU_ISA).
"""

EPS = 2.0**-23  # float32: from 1 to the next number; one rounding is off by at most half of that, times the number


def of_resize(height: int, width: int, span: float = 2.0) -> float:
    """Return what a bilinear resize can differ by, for pictures of that size in pixels and values that span so much.

    A source position is a product (rounded or not, as FMA is used) and a difference (rounded after the one or the
    other): it differs by EPS/2 of the side for each, by EPS of it in all. Neighbouring pixels differ by the span at
    most, and a position that is off by d moves the result by d times that difference: in both directions the span times
    EPS times the side. The few sums of the values themselves, each rounded by EPS/2 of the span, are the rest.
    """
    return span * EPS * (height + width + 4)
