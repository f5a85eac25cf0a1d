"""What the benchmark of large experiments takes for linear: the start of a process counts for nothing."""

from tests.benchmarks.scale import is_linear, slopes

SIZES = (1000, 4000, 10_000)


def test_a_long_start_does_not_hide_what_is_quadratic() -> None:
    assert slopes([(10, 5.0), (20, 7.5)]) == [0.25]
    assert is_linear([(size, 5 + 0.001 * size) for size in SIZES])
    assert not is_linear([(size, 60 + 1e-7 * size**2) for size in SIZES])
