"""Reading: results -> pandas -> statistics -> verdicts, tables, figures and reports. May import registry; no torch.

In a notebook: `import analysis; e = analysis.load("experiments/quickstart.yaml")`, then `e.runs`, `e.table()`,
`e.verdict()` (docs/notebooks.md).
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.reading.experiment_results import ExperimentResults


def load(
    source: "str | os.PathLike[str]",
    runs: "str | os.PathLike[str] | None" = None,
    overrides: Sequence[str] | None = None,
    experiment: str | None = None,
    origin: str | None = None,
) -> "ExperimentResults":
    """Return the results of an experiment, as far as there are any, to be looked at with pandas.

    Args:
        source: the experiment's file, its folder among the runs (`runs/quickstart`), the folder of all runs where it
            holds one experiment, or MLflow: a tracking URI (`sqlite:///runs/mlflow.db`, `http://localhost:5000`) or the
            address of the experiment's page there.
        runs: the folder of all runs, for a file; left out: `runs` in the current folder or in one above it, else `runs`
            in the file's folder or in one above that.
        overrides: of the command line that launched it, such as `["learning.steps=400"]`; left out: whatever it was
            launched with last, which `overrides` of the results says.
        experiment: its name, for a tracking URI of which MLflow has several.
        origin: of the runs folder that was brought there, or how it begins, where runs of several are; without it the
            error names them.

    Raises:
        SpecError: the file is not an experiment file.
        RunError: there is no such folder, nothing was launched in it, or not with these overrides; MLflow does not
            answer, or does not have what is asked for.
    """
    # pandas, which whoever imports another module of this room may not need
    from analysis.reading.loading import open_results

    return open_results(source, runs, overrides, experiment, origin)
