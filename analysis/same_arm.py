"""A real A/A experiment: the seeds of one arm, split into two halves that are judged as if they were two arms.

    python run.py launch experiments/quickstart.yaml ablate={} match=null claim=[] seeds=[0,1,2,3,4,5,6,7,8,9] name=aa
    python -m analysis.same_arm runs/aa --out docs/statistics.md

Both halves come from the same network, data and code, so every verdict but `undecided` is false. Splits of the same
seeds are not independent of each other; their share of false verdicts scatters more than that of as many experiments.
"""

import argparse
import datetime
import os
import platform
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.results import DONE, load, score_names, scores_by_seed
from analysis.tables import markdown, with_spread
from analysis.verdicts import Verdict, judge
from registry.claims import ResolvedClaim
from registry.errors import RunError
from registry.runs import open_replicate

BEGIN, END = "<!-- aa-experiment: begin -->", "<!-- aa-experiment: end -->"
SPLITS = 1000


def read(folder: Path, arm: str) -> pd.DataFrame:
    """The finished replicates of an arm of an experiment's folder.

    Raises:
        RunError: fewer than 4 are done.
    """
    rows = [open_replicate(path.parent).row() for path in sorted(folder.glob("*/seed-*/replicate.json"))]
    frame = load(row for row in rows if row["arm"] == arm)
    frame = frame[frame["state"] == DONE]
    if len(frame) < 4:
        raise RunError(f"{folder}: {len(frame)} seeds of arm {arm!r} are done; an A/A experiment needs at least 4")
    return frame


def judged(frame: pd.DataFrame, metric: str, left: list[int], right: list[int]) -> Verdict:
    """The verdict on "left half better than right half", the seeds paired in the order given."""
    halves = [
        frame.set_index("seed").loc[seeds].reset_index().assign(arm=name, seed=range(len(seeds)))
        for name, seeds in (("left", left), ("right", right))
    ]
    claim = ResolvedClaim("order", "half", ("left", "right"), ("left", "right"), metric, "min")
    return judge(pd.concat(halves, ignore_index=True), [claim])[0]


def table(frame: pd.DataFrame, splits: int = SPLITS) -> str:
    """For every score and number of seeds: the halves in the order of the seeds, and the false share over splits."""
    seeds = sorted(int(seed) for seed in frame["seed"])
    arm = str(frame["arm"].iloc[0])
    rows = []
    for metric in (name for name in score_names(frame) if "_band_" not in name):
        scores = scores_by_seed(frame, arm, metric)
        for n in sorted({3, len(seeds) // 2} & set(range(2, len(seeds) // 2 + 1))):
            first = judged(frame, metric, seeds[:n], seeds[n : 2 * n])
            generator = np.random.default_rng(n)
            false = 0
            for _ in range(splits):
                order = [seeds[place] for place in generator.permutation(len(seeds))]
                false += judged(frame, metric, order[:n], order[n : 2 * n]).verdict != "undecided"
            spread = with_spread(float(scores.mean()), float(scores.std(ddof=1)))
            effect = f"{first.effect:+.3g}" if first.effect is not None else ""
            rows.append([metric, spread, str(n), effect, first.verdict, f"{100 * false / splits:.1f} %"])
    header = ["score", "all seeds", "n", "effect, first n against next n", "verdict", f"false in {splits:,} splits"]
    return markdown(header, rows)


def write(path: Path, text: str) -> None:
    """Put a text between the two marks of a Markdown file.

    Raises:
        RunError: the file is absent or has not both marks.
    """
    content = path.read_text(encoding="utf-8") if path.is_file() else ""
    before, begin, rest = content.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise RunError(f"{path}: the file needs a line {BEGIN} and below it {END}")
    path.write_text("\n\n".join([before + BEGIN, text, END]) + after, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path, help="folder of an experiment, such as runs/aa")
    parser.add_argument("--arm", default="baseline")
    parser.add_argument("--splits", type=int, default=SPLITS)
    parser.add_argument("--out", type=Path, help="Markdown file with the two marks; left out: print")
    given = parser.parse_args()
    try:
        frame = read(given.folder, given.arm)
        command = f"python -m analysis.same_arm {given.folder.name} --arm {given.arm} --splits {given.splits}"
        day = datetime.datetime.now(datetime.UTC).date().isoformat()
        system = f"{platform.system()} {platform.machine()}"
        machine = f"{system}, {os.cpu_count()} cores, Python {platform.python_version()}"
        made = f"Made by `{command}` from {len(frame)} seeds on {day} ({machine})."
        text = f"{made}\n\n{table(frame, given.splits)}"
        write(given.out, text) if given.out else print(text)
    except RunError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
