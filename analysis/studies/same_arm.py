"""The rule on real noise: one arm against itself, with other seeds, judged like any two arms.

    python -m analysis.studies.same_arm runs/EXPERIMENT/ARM-HASH --out docs/statistics.md

takes the finished seeds of one arm's folder, sets the first half of them against the second, and writes what `judge`
says of it between the marks `aa-experiment` of the page. Every verdict but `undecided` is false.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.results.results_frame import load, score_names
from analysis.studies.simulation_tables import replace_between
from analysis.tables.score_table import NOTHING, markdown
from analysis.verdicts.judging import judge
from registry.errors import RunError
from registry.experiment.claims import ResolvedClaim
from registry.runs.records import read_json

MARK = "aa-experiment"
SHUFFLES = 2000


@dataclass(frozen=True)
class SameArm:
    """What comes of setting one arm against itself by one score.

    `p` and `verdict` are those of the first half of the seeds against the second; `false_share` is the share of
    shuffles of the seeds that give any verdict but `undecided`.
    """

    metric: str
    mean: float
    sd: float
    p: float | None
    verdict: str
    false_share: float


def load_arm(folder: Path) -> pd.DataFrame:
    """The finished seeds of an arm's folder as a frame; an odd last one is left out.

    Raises:
        RunError: fewer than 4 seeds are done.
    """
    by_number = sorted(folder.glob("seed-*"), key=lambda path: int(path.name.removeprefix("seed-")))
    found = [result for path in by_number if (result := read_json(path / "result.json"))]
    if len(found) < 4:
        raise RunError(f"{folder}: {len(found)} finished seeds; two halves of at least 2 are needed")
    found = found[: len(found) // 2 * 2]
    about = {"experiment": "same arm", "axes": {}, "identity": "", "state": "done", "folder": str(folder)}
    half = len(found) // 2
    return load(
        {**about, "arm": "first" if place < half else "second", "seed": place % half, "result": result}
        for place, result in enumerate(found)
    )


def against_itself(frame: pd.DataFrame, metric: str) -> SameArm:
    """Judge the two halves of an arm by one score, as they are and shuffled."""
    claim = ResolvedClaim("order", "half", ("first", "second"), ("first", "second"), metric, "min")
    (answer,) = judge(frame, [claim])
    generator = np.random.default_rng(0)
    scores = frame[metric].to_numpy()
    shuffled = (judge(frame.assign(**{metric: generator.permutation(scores)}), [claim]) for _ in range(SHUFFLES))
    false = sum(answers[0].verdict != "undecided" for answers in shuffled)
    spread = float(scores.std(ddof=1))
    return SameArm(metric, float(scores.mean()), spread, answer.p, answer.verdict, false / SHUFFLES)


def page_section(folder: Path, frame: pd.DataFrame, found: Sequence[SameArm]) -> list[str]:
    """The table and its caption."""
    rows = [
        [own.metric, f"{own.mean:.4g}", f"{own.sd:.2g}", NOTHING if own.p is None else f"{own.p:.2g}", own.verdict,
         f"{100 * own.false_share:.1f} %"]
        for own in found
    ]  # fmt: skip
    half = len(frame) // 2
    caption = (
        f"Arm `{folder.name}` of `{folder.parent.name}`: its first {half} seeds against its last {half}, a claim per "
        f"score, each judged alone. Shuffled: the share of {SHUFFLES:,} other ways to deal out these {2 * half} runs "
        "that get a false verdict; they share their runs, so read it as one number with wide error."
    )
    header = ["score", "mean", "sd over seeds", "p", "verdict", "false when shuffled"]
    return [caption, markdown(header, rows)]


def main() -> None:
    """The command line of `python -m analysis.studies.same_arm`."""
    parser = argparse.ArgumentParser(prog="python -m analysis.studies.same_arm", description=__doc__)
    parser.add_argument("folder", type=Path, help="an arm's run folder, with its seeds below it")
    parser.add_argument("--out", type=Path, required=True, help="Markdown file with the two marks")
    given = parser.parse_args()
    try:
        frame = load_arm(given.folder)
        names = [name for name in score_names(frame) if frame[name].notna().all() and "_band_" not in name]
        found = [against_itself(frame, name) for name in names]
        replace_between(given.out, MARK, page_section(given.folder, frame, found))
    except RunError as error:
        sys.exit(f"error: {error}")
    print(f"wrote {given.out}")


if __name__ == "__main__":
    main()
