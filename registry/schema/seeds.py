"""Seeds that are added until the claims are decided: a design that is simulated, and no key of experiments yet."""

from pydantic import model_validator

from registry.schema.parameter_types import PositiveInt
from registry.schema.section import Section

MOST_SEEDS = 1000


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
            raise ValueError(f"most: {MOST_SEEDS} seeds are the most")
        return self

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds that there may be."""
        return tuple(range(self.most))

    @property
    def looks(self) -> tuple[int, ...]:
        """The numbers of seeds at which claims are judged."""
        return (*range(self.first, self.most, self.every), self.most)
