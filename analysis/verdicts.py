"""Claims -> verdicts: supported, contradicted, or, unless the seeds show it, undecided.

The rule. A claim compares two arms, paired by seed. The effect is the mean difference, oriented so that a positive
effect supports the claim (`worse - better` for a score to be minimised, `better - worse` for one to be maximised).
No test is made before every planned seed of both arms is done: looking again and again until a test succeeds, and
leaving out the seeds that failed, both make false verdicts. Then a two-sided paired t-test, adjusted by Holm over all
claims judged together, decides at `alpha`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from analysis.results import DONE, refuse_mixed, score_names, scores_by_seed
from analysis.statistics import MOST_SEEDS, PairedTest, holm, paired_differences, paired_test, seeds_needed
from registry.errors import did_you_mean

POWER = 0.8


@dataclass(frozen=True)
class Verdict:
    """The answer to one claim.

    `effect` is the mean paired difference (positive supports the claim) and `interval` its Student-t interval at
    `1 - alpha`, both in the score's unit; `n` counts the pairs; `p` is two-sided and adjusted by Holm, None where no
    test was made; `reason` says in plain words why.
    """

    axis: str
    better: str
    worse: str
    metric: str
    verdict: Literal["supported", "contradicted", "undecided"]
    effect: float | None
    interval: tuple[float, float] | None
    n: int
    p: float | None
    reason: str

    def as_json(self) -> dict[str, Any]:
        """The verdict as plain JSON values."""
        return {**asdict(self), "interval": list(self.interval) if self.interval else None}


def judge(frame: pd.DataFrame, claims: Sequence[Mapping[str, Any]], alpha: float = 0.05) -> list[Verdict]:
    """One verdict per claim; the claims are one family.

    Args:
        frame: the replicates, as `analysis.results.load` gives them.
        claims: mappings with `axis`, `better`, `worse` (values, as shown), `better_arm`, `worse_arm`, `metric` and
            `direction` (`min` or `max`).
        alpha: the chance of any false verdict among these claims.

    Raises:
        RunError: a claim compares results of different data or protocols.
    """
    for claim in claims:
        refuse_mixed(frame, [claim["better_arm"], claim["worse_arm"]])
    tests = [_test(frame, claim, alpha) for claim in claims]
    waits = [_waits_for(frame, claim) for claim in claims]
    raw = [None if wait else test.p for test, wait in zip(tests, waits, strict=True)]
    return [
        _verdict(claim, test, wait, adjusted, alpha, len(claims))
        for claim, test, wait, adjusted in zip(claims, tests, waits, holm(raw), strict=True)
    ]


def _test(frame: pd.DataFrame, claim: Mapping[str, Any], alpha: float) -> PairedTest:
    better = scores_by_seed(frame, claim["better_arm"], claim["metric"])
    worse = scores_by_seed(frame, claim["worse_arm"], claim["metric"])
    differences = (
        paired_differences(worse, better) if claim["direction"] == "min" else paired_differences(better, worse)
    )
    finite = np.concatenate([values[np.isfinite(values)] for values in (better.to_numpy(), worse.to_numpy())])
    return paired_test(differences, alpha=alpha, size=float(np.abs(finite).max()) if finite.size else 0.0)


def _waits_for(frame: pd.DataFrame, claim: Mapping[str, Any]) -> str:
    """Why these two arms are not ready for a test; empty where they are."""
    arms = list(dict.fromkeys([claim["better_arm"], claim["worse_arm"]]))
    told = []
    for arm in arms:
        rows = frame[frame["arm"] == arm]
        if rows.empty:
            told.append(f"arm {arm!r} has no replicate")
            continue
        open_states = Counter(rows.loc[rows["state"] != DONE, "state"])
        if open_states:
            states = ", ".join(f"{count} {state}" for state, count in open_states.items())
            told.append(f"{open_states.total()} of {len(rows)} seeds of arm {arm!r} not done ({states})")
    if told:
        return "; ".join(told)
    if claim["metric"] not in frame:
        return f"no score {claim['metric']!r} was recorded: {did_you_mean(claim['metric'], score_names(frame))}"
    for arm in arms:
        scores = scores_by_seed(frame, arm, claim["metric"])
        unusable = scores.index[~np.isfinite(scores)]
        if len(unusable):
            told.append(f"arm {arm!r} has no finite {claim['metric']} for seed {', '.join(map(str, unusable))}")
    seeds = [set(frame.loc[frame["arm"] == arm, "seed"]) for arm in arms]
    if alone := set.union(*seeds) - set.intersection(*seeds):
        told.append(f"seed {', '.join(map(str, sorted(alone)))} is in one of the two arms only")
    return "; ".join(told)


def _verdict(
    claim: Mapping[str, Any], test: PairedTest, wait: str, p: float | None, alpha: float, family: int
) -> Verdict:
    shown = p is not None and p <= alpha
    if wait:
        reason = f"{_pairs(test.n)}; {wait}"
    elif test.p is None or p is None:
        reason = _untestable(test)
    else:
        adjusted = f"p = {p:.2g}" + (f" ({test.p:.2g} alone, adjusted for {family} claims)" if family > 1 else "")
        reason = f"{_pairs(test.n)}; {adjusted}, {'at most' if shown else 'above'} {alpha:g}"
        if not shown:
            reason += f"; {_more_seeds(test, alpha / family)}"
    answer: Literal["supported", "contradicted", "undecided"] = "undecided"
    if shown and test.mean is not None:
        answer = "supported" if test.mean > 0 else "contradicted"
    return Verdict(
        axis=claim["axis"],
        better=claim["better"],
        worse=claim["worse"],
        metric=claim["metric"],
        verdict=answer,
        effect=test.mean,
        interval=test.interval,
        n=test.n,
        p=p,
        reason=reason,
    )


def _pairs(n: int) -> str:
    return f"{n} paired seed{'' if n == 1 else 's'}"


def _untestable(test: PairedTest) -> str:
    if test.n < 2:
        return f"{_pairs(test.n)}; a test needs at least 2, and rarely shows anything below 5"
    if test.mean == 0:
        return f"{_pairs(test.n)}; the two arms have equal scores on every seed"
    return f"{_pairs(test.n)}; all differences are equal, so the spread between seeds is unknown"


def _more_seeds(test: PairedTest, alpha: float) -> str:
    needed = seeds_needed(test.mean or 0.0, test.sd or 0.0, alpha=alpha, power=POWER)
    if needed is None:
        return f"an effect of this size would need more than {MOST_SEEDS} seeds (estimate)"
    if needed <= test.n:
        return f"about {test.n + 1} seeds or more would be needed (estimate from {test.n} noisy ones)"
    return f"about {needed} seeds would show an effect of this size with {POWER:.0%} power (estimate)"
