"""Looking at an experiment's claims: the verdicts are paid for with the looks before, and the look is written down."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from analysis.results.table_runs import runs_of
from analysis.verdicts.looks import History
from analysis.verdicts.verdict import Verdict
from registry.runs.given_seeds import given_up
from registry.runs.looks import Look, look_files, read_looks, record_look
from registry.schema.seeds import UntilDecided


def seen(
    experiment: Path,
    frame: pd.DataFrame,
    design: UntilDecided | None,
    judged: Callable[[History], list[Verdict]],
    unwritten: str = "",
) -> list[Verdict]:
    """Return verdicts that are paid for, and write the look down where it saw something new.

    Args:
        experiment: the experiment's folder, or one that has its looks and given seeds.
        frame: the replicates, whose commits are noted.
        design: how seeds are added, where they are.
        judged: gives the verdicts over a history of looks.
        unwritten: why a new look is not written down; empty: it is.
    """
    while True:
        files = look_files(experiment)
        looks, lost = read_looks(experiment)
        answers = judged(History(looks, len(lost), design, given_up(experiment)))
        warnings = [f"warning: {line}" for line in lost]
        new = [
            answer.paid.looks[-1].model_copy(update={"verdict": answer.verdict})
            for answer in answers
            if answer.paid is not None and answer.paid.new
        ]
        if new and unwritten:
            warnings.append(f"warning: {unwritten}")
        elif new and experiment.is_dir():
            commits = tuple(sorted({commit for own in runs_of(frame) for commit in own.commits}))
            seeds = tuple(sorted({int(seed) for seed in frame["seed"]}))
            try:
                record_look(experiment, Look(time=time.time(), seeds=seeds, commits=commits, claims=tuple(new)), files)
            except FileExistsError:
                continue  # another process looked meanwhile
            except OSError as error:
                warnings.append(
                    f"warning: {experiment}: this look cannot be written down ({error.strerror}), "
                    "so a later one does not know of it"
                )
        return [replace(answer, warnings=(*answer.warnings, *warnings)) for answer in answers]
