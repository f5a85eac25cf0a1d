"""Arms that were stopped early on purpose, and why: what they lack is no result."""

from pathlib import Path

import pandas as pd

from registry.runs.attempts import read_json

STOPPED = "stopped"
NOTE = "a screen: arms were stopped early, so their absence is no result"


def reasons(frame: pd.DataFrame) -> dict[str, str]:
    """Arm -> why it was stopped, for the arms of which a replicate was.

    Args:
        frame: the replicates, as `analysis.results.load` gives them.
    """
    found: dict[str, str] = {}
    for arm, state, folder in zip(frame["arm"], frame["state"], frame["folder"], strict=True):
        if state == STOPPED and arm not in found:
            found[arm] = str((read_json(Path(folder) / "control.json") or {}).get("reason") or "stopped early")
    return found
