"""Which timesteps a respacing spec keeps."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.diffusion.respacing import respaced_timesteps
from registry.errors import SpecError


@given(st.integers(1, 300), st.data())
def test_one_section_is_evenly_spread_and_has_both_ends(num_timesteps: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, num_timesteps))
    kept = respaced_timesteps(num_timesteps, str(count))
    assert len(kept) == len(set(kept)) == count
    assert kept == sorted(kept)
    assert kept[0] == 0
    assert count == 1 or kept[-1] == num_timesteps - 1
    gaps = [after - before for before, after in itertools.pairwise(kept)]
    assert not gaps or max(gaps) - min(gaps) <= 1


@given(st.integers(1, 200))
def test_all_steps_is_the_identity(num_timesteps: int) -> None:
    assert respaced_timesteps(num_timesteps, str(num_timesteps)) == list(range(num_timesteps))
    assert respaced_timesteps(num_timesteps, f"ddim{num_timesteps}") == list(range(num_timesteps))


@given(st.lists(st.integers(1, 20), min_size=1, max_size=5), st.integers(100, 400))
def test_sections_are_cut_equally_and_the_earlier_take_the_remainder(counts: list[int], num_timesteps: int) -> None:
    kept = respaced_timesteps(num_timesteps, ",".join(map(str, counts)))
    size, remainder = divmod(num_timesteps, len(counts))
    first = 0
    for section, count in enumerate(counts):
        length = size + (1 if section < remainder else 0)
        inside = [step for step in kept if first <= step < first + length]
        assert inside == [first + step for step in respaced_timesteps(length, str(count))]
        first += length
    assert first == num_timesteps
    assert len(kept) == sum(counts)


def test_stride_form_takes_the_smallest_stride() -> None:
    assert respaced_timesteps(1000, "ddim25") == list(range(0, 1000, 40))
    assert respaced_timesteps(10, "ddim4") == [0, 3, 6, 9]
    assert respaced_timesteps(10, "ddim2") == [0, 5]
    assert respaced_timesteps(10, "ddim1") == [0]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("1001", "section 1 has 1000 timesteps and cannot give 1001"),
        ("10,501", "section 2 has 500"),
        ("ddim251", "no integer stride keeps exactly 251 of 1000"),
        ("0", "write a count"),
        ("-5", "write a count"),
        ("", "write a count"),
        ("ddim", "write a count"),
        ("ddim5,5", "write a count"),
        ("2.5", "write a count"),
        ("fast", "write a count"),
        ("²", "write a count"),
    ],
)
def test_impossible_specs_are_refused(spec: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        respaced_timesteps(1000, spec)


def test_refused_strides_name_near_ones() -> None:
    with pytest.raises(SpecError, match="ddim250"):
        respaced_timesteps(1000, "ddim240")
