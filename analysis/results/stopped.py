"""Arms that were stopped early on purpose, and why: what they lack is no result."""

from pathlib import Path

import pandas as pd

from registry.runs.stored import desires

STOPPED = "stopped"
NOTE = "a screen: arms were stopped early, so their absence is no result"


def reasons(frame: pd.DataFrame) -> dict[str, str]:
    """Arm -> why it was stopped, for the arms of which a replicate was.

    Args:
        frame: the replicates, as `analysis.results.results_frame.load` gives them.
    """
    found: dict[str, str] = {}
    columns = (frame[name] for name in ("experiment", "arm", "state", "folder"))
    for experiment, arm, state, folder in zip(*columns, strict=True):
        if state == STOPPED and arm not in found:
            wishes = {desired.experiment: desired for desired in desires(Path(folder))}
            found[arm] = (wishes[experiment].reason if experiment in wishes else "") or "stopped early"
    return found
