"""The runs behind a table, as a comment to it says them: by arm the training, seed and evaluation, and the commit."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.results.results_frame import DONE
from registry.runs.records import read_json


@dataclass(frozen=True)
class ArmRuns:
    """The finished runs of an arm: `<training>/seed-<n>/<evaluation>` each, and the commits that made them."""

    arm: str
    runs: tuple[str, ...]
    commits: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.arm}: {', '.join(self.runs)}" + (f"; commit {', '.join(self.commits)}" if self.commits else "")


def runs_of(frame: pd.DataFrame) -> list[ArmRuns]:
    """Return the finished runs of each arm of a frame, as `analysis.results.results_frame.load` gives it."""
    found = []
    for arm, rows in frame[frame["state"] == DONE].groupby("arm", sort=False):
        folders = [Path(folder) for folder in rows["folder"]]
        found.append(
            ArmRuns(str(arm), tuple(map(run_name, folders)), tuple(dict.fromkeys(filter(None, map(_commit, folders)))))
        )
    return found


def run_name(evaluation: Path) -> str:
    """Return a run's name below `_trainings`, without the word in between: `<training>/seed-<n>/<evaluation>`."""
    seed = evaluation.parent.parent
    return f"{seed.parent.name}/{seed.name}/{evaluation.name}"


def _commit(evaluation: Path) -> str:
    code = (read_json(evaluation / "result.json") or {}).get("code")
    if not isinstance(code, dict) or not code.get("commit"):
        return ""
    return str(code["commit"]) + (" with changes" if code.get("changed") else "")
