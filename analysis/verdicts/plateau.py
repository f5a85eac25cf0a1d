"""Warnings of arms whose loss is still on its first plateau: they were compared too early. They change no verdict.

A denoiser first learns what needs no network: the mean of the data, and how much of a noisy value is noise. The loss
falls to that level and may stay there for long before the network learns more. A training is taken to be there still
where all of this holds of the loss that it logged:

- after a first fall, by a tenth at least, it is still above a quarter of where it began;
- from the second quarter of the training to its second half it fell by no more than chance makes (two standard errors,
  from the differences between neighbours), or than a fiftieth;
- the noise is small enough to know: with two standard errors more, the fall would still be less than a tenth.

The thresholds are our reading. A training that starts from good weights has no first fall, and one that learned has
left more than three quarters of its first loss behind, however flat it is. Fewer than `FEWEST` logged values say
nothing.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.results.results_frame import done
from analysis.verdicts.verdict import Verdict

LOSS = "loss"  # what is logged oftenest
FEWEST = 16  # logged values
FIRST_FALL, STILL_LEFT = 1.1, 0.25  # of the loss at the start: over the level, and of the level
FLAT, UNSURE = 0.02, 0.1  # of the level
ERRORS = 2.0  # standard errors

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]  # steps, and the loss that was logged at each


def on_first_plateau(steps: NDArray[np.float64], losses: NDArray[np.float64]) -> bool:
    """Return whether a training's loss is still on its first plateau.

    Args:
        steps: at which it was logged, in ascending order.
        losses: mean loss since the value before.
    """
    finite = np.isfinite(losses)
    steps, losses = steps[finite], losses[finite]
    if len(steps) < FEWEST:
        return False
    early, late = (
        losses[(steps > low * steps[-1]) & (steps <= high * steps[-1])] for low, high in ((0.25, 0.5), (0.5, 1))
    )
    if min(len(early), len(late)) < FEWEST // 4:
        return False
    level, fall = float(early.mean()), float(early.mean() - late.mean())
    noise = math.sqrt(float(np.mean(np.concatenate([np.diff(early), np.diff(late)]) ** 2)) / 2)
    error = ERRORS * noise * math.sqrt(1 / len(early) + 1 / len(late))
    learned = late.mean() < STILL_LEFT * losses[0]
    fell = losses[0] >= FIRST_FALL * late.mean()
    return bool(fell and not learned and fall <= max(error, FLAT * level) and fall + error <= UNSURE * level)


def with_plateaus(answers: Sequence[Verdict], curves: pd.DataFrame, frame: pd.DataFrame) -> list[Verdict]:
    """Return verdicts with a warning for each of their arms of which trainings are still on their first plateau.

    Args:
        answers: to claims about arms of the frame.
        curves: what trainings logged (`analysis.results.curves.curves`).
        frame: the replicates; those that are done count.
    """
    if LOSS not in curves or not answers:
        return list(answers)
    ended = set(zip(*(done(frame)[name] for name in ("arm", "seed")), strict=True))
    lines = curves.dropna(subset=[LOSS])
    logged: dict[tuple[str, int], Curve] = {}
    for _, own in lines.groupby(["arm", "seed"], observed=True, sort=False):
        owner = str(own["arm"].iloc[0]), int(own["seed"].iloc[0])
        if owner in ended:
            logged[owner] = own["step"].to_numpy("float64"), own[LOSS].to_numpy("float64")
    known: dict[tuple[str, int | None], str] = {}  # arm and step -> its warning, the same for every claim

    def warning(arm: str, step: int | None) -> str:
        if (arm, step) not in known:
            known[arm, step] = _warning(arm, step, {seed: own for (of, seed), own in logged.items() if of == arm})
        return known[arm, step]

    def warnings(answer: Verdict) -> Iterator[str]:
        for arm in dict.fromkeys(answer.claim.arms):
            if told := warning(arm, answer.claim.step):
                yield told

    return [replace(answer, warnings=(*answer.warnings, *warnings(answer))) for answer in answers]


def _warning(arm: str, step: int | None, logged: Mapping[int, Curve]) -> str:
    """What to say of an arm whose seeds logged these steps and losses, of those up to a step; empty for nothing."""
    stuck, levels = [], []
    for seed, (steps, losses) in logged.items():
        there = steps <= (math.inf if step is None else step)
        if on_first_plateau(steps[there], losses[there]):
            stuck.append(seed)
            levels.append(float(losses[there][-1]))
    if not stuck:
        return ""
    seeds = f"seed{'' if len(stuck) == 1 else 's'} {', '.join(map(str, stuck))}"
    at = "at the end" if step is None else f"at step {step}"
    return (
        f"warning: {arm} is still on the first plateau of its loss ({seeds} of {len(logged)}; {at} "
        f"{np.mean(levels):.3g}, hardly less than after the first quarter): what differs between arms may show only "
        "later; train longer"
    )
