"""Which of the trained timesteps a shorter process visits."""

from registry.errors import SpecError


def respaced_timesteps(num_timesteps: int, spec: str) -> list[int]:
    """The increasing original timesteps that a respacing spec keeps of `0 .. num_timesteps - 1`.

    `"n1,n2,…"` cuts the range into equal consecutive sections (earlier ones take the remainder) and keeps n_i evenly
    spread steps of section i, its first and last included; a single number is one section. `"ddimN"` keeps every
    k-th step from 0, k being the smallest integer stride that gives exactly N steps.

    Raises:
        SpecError: the spec is not of either form, or asks for more steps than there are or for no possible stride.
    """
    spec = spec.strip()
    if spec.startswith("ddim"):
        (count,) = _counts(spec, spec.removeprefix("ddim"), single=True)
        for stride in range(1, num_timesteps + 1):
            kept = range(0, num_timesteps, stride)
            if len(kept) == count:
                return list(kept)
        raise SpecError(
            f"steps {spec!r}: no integer stride keeps exactly {count} of {num_timesteps} timesteps; "
            f"{_nearest_strides(num_timesteps, count)}"
        )
    counts = _counts(spec, spec, single=False)
    size, remainder = divmod(num_timesteps, len(counts))
    kept_timesteps: list[int] = []
    first = 0
    for section, count in enumerate(counts):
        length = size + (section < remainder)
        if count > length:
            raise SpecError(f"steps {spec!r}: section {section + 1} has {length} timesteps and cannot give {count}")
        kept_timesteps += [first + offset for offset in _spread(length, count)]
        first += length
    return kept_timesteps


def executed_steps(spec: str) -> int:
    """Return how many timesteps a respacing spec keeps, of however many there are.

    Raises:
        SpecError: the spec is of neither form.
    """
    strided = spec.strip().startswith("ddim")
    return sum(_counts(spec, spec.strip().removeprefix("ddim"), single=strided))


def _spread(length: int, count: int) -> list[int]:
    """`count` offsets from 0 to `length - 1`; float64 accumulation and ties to even, as the reference rounds them."""
    stride = (length - 1) / (count - 1) if count > 1 else 1.0
    offsets, position = [], 0.0
    for _ in range(count):
        offsets.append(round(position))
        position += stride
    return offsets


def _counts(spec: str, numbers: str, single: bool) -> list[int]:
    words = [word.strip() for word in numbers.split(",")]
    counts = [int(word) if word.isascii() and word.isdigit() and len(word) < 10 else 0 for word in words]
    if not all(counts) or (single and len(words) > 1):
        raise SpecError(
            f"steps {spec!r}: write a count (250), counts of equal sections ('10,15,20') or a stride ('ddim25')"
        )
    return counts


def _nearest_strides(num_timesteps: int, count: int) -> str:
    possible = sorted({len(range(0, num_timesteps, stride)) for stride in range(1, num_timesteps + 1)})
    near = sorted(sorted(possible, key=lambda n: abs(n - count))[:3])
    return "possible near it: " + ", ".join(f"ddim{n}" for n in near)
