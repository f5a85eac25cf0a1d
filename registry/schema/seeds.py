"""`seeds` of an experiment that are added until its claims are decided."""

from pydantic import model_validator

from registry.schema.parameter_types import PositiveInt
from registry.schema.section import Section

MOST_SEEDS = 1000
MOST_LOOKS = 100  # each costs time of every verdict, and the level that it spends shows next to nothing


class UntilDecided(Section):
    """Seeds 0, 1, 2, … are added until the claims are decided: `{first: 3, most: 12}`.

    Claims are judged with `first` seeds, and again with `every` more, up to `most`; only arms of claims that are open
    and can still be decided get more.
    """

    first: PositiveInt
    """Seeds of every arm, with which all claims are judged first."""
    most: PositiveInt
    """Seeds of an arm at which its claims end."""
    every: PositiveInt = 1
    """Seeds from one look to the next."""

    @model_validator(mode="after")
    def _growing(self) -> "UntilDecided":
        if not 2 <= self.first < self.most:
            raise ValueError("expected 2 <= first < most: a test needs two seeds, and seeds are to be added")
        if self.most > MOST_SEEDS:
            raise ValueError(f"expected most to be {MOST_SEEDS} or fewer")
        if len(self.looks) > MOST_LOOKS:
            raise ValueError(
                f"expected at most {MOST_LOOKS} looks, not {len(self.looks)}: `every: N` adds N seeds a look"
            )
        return self

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds that there may be."""
        return tuple(range(self.most))

    @property
    def looks(self) -> tuple[int, ...]:
        """The numbers of seeds at which claims are judged."""
        return (*range(self.first, self.most, self.every), self.most)

    def look_after(self, n: int) -> int | None:
        """Return with how many seeds claims are judged next that were judged with n; None where that was the last."""
        return next((look for look in self.looks if look > n), None)

    def told_look(self, n: int) -> str:
        """`2 of 10`: which look is made with n seeds; of another design: `at 4 seeds`."""
        return f"{self.looks.index(n) + 1} of {len(self.looks)}" if n in self.looks else f"at {n} seeds"
