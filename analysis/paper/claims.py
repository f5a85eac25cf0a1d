"""The paper's claims, and which verdicts test them: by what the arms are, whatever an experiment calls them."""

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from registry import strict_yaml
from registry.errors import SpecError
from registry.experiment.claims import ResolvedClaim

FILE = Path(__file__).parents[1] / "claims" / "latte.yaml"
MATCHED = ("model.depth",)  # differs where `match` brings arms to equal parameters or arithmetic
Values = dict[str, str | int | float]
Arm = Mapping[str, Any]  # key -> value, of a spec (`analysis.results.run_columns.spec_values`)


class PaperClaim(BaseModel):
    """One claim, in our words, and the verdicts that test it.

    Args:
        id: short and stable.
        says: the claim.
        source: where the paper makes it.
        sure: how we know of it.
        better: of an order: what the better arm has, by key.
        worse: and the worse one.
        equivalent: of an equivalence: what the two arms have.
        alike_along: of an equivalence: keys in which its arms may differ, whatever their values.
        improving_along: of a trend: keys in which its arms may differ.
        early: whether the claim is about an evaluation before the last.
        file: of the experiment that tests it at the paper's size.
        note: what else has to be known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    says: str
    source: str
    sure: Literal["reported", "two sources"]
    better: Values = Field(default_factory=dict)
    worse: Values = Field(default_factory=dict)
    equivalent: tuple[Values, ...] = ()
    alike_along: tuple[str, ...] = ()
    improving_along: tuple[str, ...] = ()
    early: bool = False
    file: str
    note: str = ""

    @model_validator(mode="after")
    def _one_form(self) -> "PaperClaim":
        forms = [bool(self.better and self.worse), bool(self.equivalent), bool(self.alike_along),
                 bool(self.improving_along)]  # fmt: skip
        if sum(forms) != 1:
            raise ValueError("give one of better with worse, equivalent, alike_along, improving_along")
        return self

    def tested_by(self, claim: ResolvedClaim, arms: Mapping[str, Arm], last: int, tuned: Collection[str] = ()) -> bool:
        """Whether a claim of an experiment is this one, at whatever scale.

        Args:
            claim: of the experiment.
            arms: what its arms have, by name; where an arm is missing, it cannot be told, and the answer is no.
            last: the step at which arms are compared in the end.
            tuned: keys of which each arm found its best value; arms may differ in them.
        """
        if self.early != (claim.step is not None and claim.step < last):
            return False
        if any(arm not in arms for arm in claim.arms):
            return False
        return all(self._is_of([_untuned(arms[arm], tuned) for arm in cell], claim.kind) for cell in claim.cells)

    def _is_of(self, cell: Sequence[Arm], kind: str) -> bool:
        if kind == "order" and self.better:
            return _have(cell, [self.better, self.worse])
        if kind == "equivalence" and self.equivalent:
            return _have(cell, self.equivalent) or _have(cell, self.equivalent[::-1])
        if kind == "equivalence" and self.alike_along:
            return _along(cell, self.alike_along)
        if kind == "trend" and self.improving_along:
            return _along(cell, self.improving_along)
        return False


def _untuned(arm: Arm, tuned: Collection[str]) -> Arm:
    """Return what an arm has beside the keys that were tuned; the parameters of a tuned part go with it."""
    return {key: value for key, value in arm.items() if not any(f"{key}.".startswith(f"{own}.") for own in tuned)}


def _have(cell: Sequence[Arm], wanted: Sequence[Values]) -> bool:
    """Whether arms have the values, each its own, and differ in no other key."""
    if len(cell) != len(wanted) or not all(_has(arm, values) for arm, values in zip(cell, wanted, strict=True)):
        return False
    allowed = {key for values in wanted for key in values} | set(MATCHED)
    return differing(cell[0], cell[1]) <= allowed


def _along(cell: Sequence[Arm], keys: Sequence[str]) -> bool:
    """Whether neighbours differ, and in these keys alone."""
    return all(set() < differing(left, right) <= set(keys) for left, right in pairwise(cell))


def _has(arm: Arm, values: Values) -> bool:
    return all(arm.get(key, 0) > 0 if value == ">0" else arm.get(key) == value for key, value in values.items())


def differing(left: Arm, right: Arm) -> set[str]:
    """Return the keys in which two arms differ; a parameter of a part counts as the part.

    How clips are read for scoring follows from the training where `scoring` leaves it open, and is no difference of
    its own; neither is where the data lie.
    """
    slots = {_slot(key, left, right) for key in {*left, *right} if left.get(key) != right.get(key)}
    return {key for key in slots if not key.startswith(("scoring.", "runtime.")) and key != "data.path"}


def _slot(key: str, left: Arm, right: Arm) -> str:
    """Return the key of the part that a key is a parameter of, or the key itself."""
    while (parent := key.rpartition(".")[0]) in left or parent in right:
        key = parent
    return key


def paper_claims(path: Path = FILE) -> list[PaperClaim]:
    """Return the claims of a file of claims.

    Raises:
        SpecError: it is not such a file.
    """
    document = strict_yaml.load(path)
    try:
        return [PaperClaim.model_validate(one) for one in document.value["claims"]]
    except (KeyError, TypeError, ValueError) as error:
        raise SpecError(f"{path}: {error}") from None
