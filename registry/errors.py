"""The one error for what a user can mend: it is printed without a traceback and ends with exit code 2."""

import difflib
from collections.abc import Iterable


class SpecError(ValueError):
    """One or more things wrong with what the user wrote, one clear line each."""

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class RunError(RuntimeError):
    """Something that failed while doing, told in one line for people; ends with exit code 1."""


class Interrupted(RunError):
    """The run was asked to stop, and did so behind what it had finished, which is kept."""


def did_you_mean(wrong: str, valid: Iterable[str]) -> str:
    """A hint that names the nearest valid names, or all of them where none is near.

    Names that are near come first, at most three; with none near, up to 24 valid names are listed.
    """
    names, wrong = sorted(set(valid)), shortened(wrong)
    near = difflib.get_close_matches(wrong, names, n=3, cutoff=0.6)
    if not near:
        near = [name for name in names if wrong and (wrong in name or name in wrong)][:3]
    if near:
        return f"did you mean {' or '.join(repr(name) for name in near)}?"
    return f"valid: {', '.join(names[:24])}{', …' if len(names) > 24 else ''}"


def shortened(text: str, most: int = 60) -> str:
    """A text as it is, or its beginning and an ellipsis, so that one line stays one line."""
    return text if len(text) <= most else f"{text[:most]}…"
