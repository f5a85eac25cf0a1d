"""Looks at claims whose data grow: what was seen before, and what is left of the level for this look.

Testing again and again as seeds are added makes false verdicts. So a claim's looks share its level: over all of them it
is called falsely as rarely as over one. The same data looked at again are the same look, whoever looks; so are scores
that other code has made anew where n, p and effect changed in no more than their last digits.

A fixed design (`seeds: [0, 1, 2]`) says nothing of further looks: each spends three quarters of what is left, so that
the first, which is mostly the only one, has most. A design that ends at a stated number of seeds spends what its looks
are worth; see `analysis.statistics.spending`, and `analysis.verdicts.until_decided` for when it ends.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import pandas as pd

from analysis.results.results_frame import DONE, scores_by_arm
from analysis.statistics import spending
from analysis.verdicts.evidence import Answer, Evidence
from registry.experiment.claims import ResolvedClaim
from registry.runs.looks import Look, Looked
from registry.schema.seeds import UntilDecided

OF_WHAT_IS_LEFT = 0.75  # that a look at a fixed design spends
ROUNDING = 1e-6  # relative: what code that calculates in another order changes of p and effect at most


@dataclass(frozen=True)
class Paid:
    """What a claim's test is worth over all looks.

    Args:
        looks: at this claim, the present one last (or where its data were first seen).
        p: over all looks; None where no test is made.
        leaning: the answer that the look lean to at which the claim is shown most clearly.
        level: the level of the present look, two-sided, where the claim is judged at `alpha` over all looks.
        alpha: that level.
        new: whether the present data were not seen before.
        design: how seeds are added, where they are.
    """

    looks: tuple[Looked, ...]
    p: float | None
    leaning: Answer
    level: float
    alpha: float
    new: bool
    design: UntilDecided | None = None

    @property
    def told(self) -> str:
        """`look 2 (before at 3 seeds), at 0.0087 of 0.05`; of a design: `look 2 of 10 (…)`."""
        before = self.looks[:-1]
        number = self.design.told_look(self.looks[-1].n) if self.design else str(len(self.looks))
        seeds = ", ".join(str(look.n) for look in before)
        seen = f" (before at {seeds} seeds)" if before else ""
        if self.level <= 0:
            return f"look {number}{seen}, for which nothing is left of the level {self.alpha:.2g}"
        return f"look {number}{seen}, at level {self.level:.3g} of {self.alpha:.3g}"


@dataclass(frozen=True)
class History:
    """What was seen of an experiment's claims.

    Args:
        looks: oldest first.
        lost: how many more there were that cannot be read.
        design: how seeds are added, where they are.
        given_up: claim (`key_of`) -> with how many seeds it was given up before; it stays so.
    """

    looks: Sequence[Look] = ()
    lost: int = 0
    design: UntilDecided | None = None
    given_up: Mapping[str, int] = field(default_factory=dict)

    def rows(self, frame: pd.DataFrame, claim: ResolvedClaim) -> pd.DataFrame:
        """Return what a claim is judged by: all rows, or of a design "until decided" those of its last stated look."""
        if self.design is None:
            return frame
        seeds = self.design.seeds[: self.seeds_of_look(frame, claim)]
        return frame[frame["seed"].isin(seeds)]

    def seeds_of_look(self, frame: pd.DataFrame, claim: ResolvedClaim) -> int:
        """Return with how many seeds a claim is judged: the last stated look for which all of its arms are done."""
        assert self.design is not None
        done = frame[frame["arm"].isin(claim.arms) & (frame["state"] == DONE)]
        arms = Counter(done.drop_duplicates(["arm", "seed"])["seed"].tolist())
        whole = {seed for seed, count in arms.items() if count == len(set(claim.arms))}
        reached = [n for n in self.design.looks if whole.issuperset(self.design.seeds[:n])]
        return max(reached, default=self.design.first)

    def paid(self, frame: pd.DataFrame, claim: ResolvedClaim, evidence: Evidence, alpha: float) -> Paid | None:
        """Return what a claim's test is worth over all looks; None where no test is made.

        Args:
            frame: the rows that it was made of.
            claim: what is claimed.
            evidence: of the present data.
            alpha: the level over all looks.
        """
        if evidence.p is None:
            return None
        key, data = key_of(frame, claim), data_of(frame, claim)
        before = [own for look in self.looks for own in look.claims if own.claim == key]
        now = Looked(
            claim=key, says=claim.text, metric=claim.metric, protocol=evidence.protocol, data=data, n=evidence.test.n,
            p=evidence.p, leaning=evidence.leaning, effect=evidence.test.mean, share=0.0,
        )  # fmt: skip
        known = next((place for place, own in enumerate(before) if _same_data(own, now)), None)
        share = self._share(now.n, before) if known is None else before[known].share
        now = now.model_copy(update={"share": share})
        seen = (*before[:known], now)  # of data that were seen before, what came after them says nothing
        place = len(seen) - 1
        seeds, shares = tuple(own.n for own in seen), tuple(own.share for own in seen)
        by_look = spending.adjusted_by_look([own.p for own in seen], seeds, shares)
        clearest = min(range(len(seen)), key=lambda number: (by_look[number], number != place))
        level = spending.levels_at(alpha, seeds, shares)[place]
        leaning = cast(Answer, seen[clearest].leaning)
        return Paid(seen, by_look[clearest], leaning, level, alpha, known is None, self.design)

    def _share(self, n: int, before: Sequence[Looked]) -> float:
        """Return the share of the level that a look with n seeds spends behind others."""
        left = max(0.0, 1 - sum(own.share for own in before)) * (1 - OF_WHAT_IS_LEFT) ** self.lost
        if self.design is None:
            return OF_WHAT_IS_LEFT * left
        return max(0.0, left - (1 - spending.spent_by(n, self.design.most)))

    def level_at_last(self, paid: Paid, alpha: float) -> float:
        """Return the level that a design's last look has for a claim, if all looks before it are taken as stated.

        Args:
            paid: the looks so far.
            alpha: the level over all looks.
        """
        assert self.design is not None
        seen = list(paid.looks)
        for n in self.design.looks:
            if n > paid.looks[-1].n:
                seen.append(paid.looks[-1].model_copy(update={"n": n, "share": self._share(n, seen)}))
        return spending.levels_at(alpha, tuple(own.n for own in seen), tuple(own.share for own in seen))[-1]

    def share_of_next(self, paid: Paid | None, n: int) -> float:
        """Return the share of the level that a look with n seeds would spend."""
        return self._share(n, paid.looks if paid else ())


def key_of(frame: pd.DataFrame, claim: ResolvedClaim) -> str:
    """Return a digest of what is claimed of which arms, by what these are rather than by their names."""
    identities = dict(zip(frame["arm"], frame["identity"], strict=True))
    arms = [str(identities.get(arm, "")) for arm in claim.arms]
    about = [claim.kind, arms, claim.metric, claim.direction, str(claim.margin), claim.step]
    about += [claim.over, claim.since] if claim.over else []
    return _digest(about)


def data_of(frame: pd.DataFrame, claim: ResolvedClaim) -> str:
    """Return a digest of the scores that a claim is judged by, each with its seed."""
    by_arm = scores_by_arm(frame, claim.arms, claim.metric)
    return _digest([sorted(zip(own.index.tolist(), own.tolist(), strict=True)) for own in by_arm.values()])


def _same_data(one: Looked, other: Looked) -> bool:
    """Return whether all that a test decides by is the same at two looks, but for digits that rounding decides."""
    if (
        one.data == other.data
        or one.leaning != other.leaning
        or one.n != other.n
        or one.effect is None
        or other.effect is None
    ):
        return one.data == other.data
    numbers = ((one.p, other.p), (one.effect, other.effect))
    return all(math.isclose(a, b, rel_tol=ROUNDING) for a, b in numbers)


def _digest(about: object) -> str:
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]
